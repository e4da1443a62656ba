/** What the demo tells the process that holds its servers, and what that tells back. */
import type { PrivateServerOptions } from './private-server.ts';

export interface ServersSettings {
  readonly servers: readonly PrivateServerOptions[];
  /** Whether their data stays when they end. */
  readonly keep: boolean;
}

export type ServersMessage =
  /** In the order of `servers`. */
  | { readonly kind: 'ready'; readonly urls: readonly string[] }
  | { readonly kind: 'failed'; readonly reason: string };

/** The variable that carries the settings, as JSON. */
export const settingsVariable = 'SETTLE_DEMO_SERVERS';
