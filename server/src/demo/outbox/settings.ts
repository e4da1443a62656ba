/** What the demo of the outbox tells its processes, and what they tell back. */

/** They share nothing but a file and an address: whatever one of them knows dies with it. */
export const roles = ['writer', 'relay', 'consumer'] as const;
export type Role = (typeof roles)[number];

export interface RoleSettings {
  readonly dir: string;
  readonly seed: number;
  /** The number of the last order; undefined: until it is told to stop. */
  readonly lastOrder: number | undefined;
  readonly faults: boolean;
  /** Of the consumer. 0 at its first start; then the one it had, so that its address stays. */
  readonly port: number;
  /** Signs what the relay sends. */
  readonly secret: string;
  readonly defect: OutboxDefect | undefined;
}

/**
 * A mistake planted on purpose, to see the check find it.
 * - `dual-write`: the message is sent in a transaction of its own, before that of the order.
 * - `ignore-order`: the relay lets later messages of a customer overtake one that fails.
 * - `skip-inbox`: the consumer takes every delivery for a new message.
 */
export const outboxDefects = ['dual-write', 'ignore-order', 'skip-inbox'] as const;
export type OutboxDefect = (typeof outboxDefects)[number];

export type RoleMessage =
  | { readonly kind: 'ready'; readonly port: number }
  /** The writer's transaction is committed: from now on its order must not be lost. */
  | { readonly kind: 'committed'; readonly order: number }
  | { readonly kind: 'rolled-back'; readonly order: number }
  | { readonly kind: 'all-written' }
  /** How many orders have taken effect at the consumer since the run began. */
  | { readonly kind: 'effects'; readonly count: number }
  | { readonly kind: 'duplicate' | 'lost-answer' | 'turned-away' };

/** The variable that carries the settings, as JSON. */
export const settingsVariable = 'SETTLE_DEMO_OUTBOX';

export function readSettings(): RoleSettings {
  // Written by the demo itself, in the same release.
  return JSON.parse(process.env[settingsVariable] ?? '{}') as RoleSettings;
}

export function tell(message: RoleMessage): void {
  if (process.connected) process.send?.(message);
}

/** Ends the process in order when it is asked to, and at once when the demo is gone: nobody would stop it. */
export function whenStopped(stop: () => Promise<void>): void {
  process.on('SIGTERM', () => void stop().then(() => process.exit(0)));
  process.on('disconnect', () => process.exit(1));
}
