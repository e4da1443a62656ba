/** What the demo has heard of its processes. What one of them had not said yet when it was killed is missing. */
import type { Role, RoleMessage } from './settings.ts';

export interface OutboxTally {
  /** Orders called committed, by number. */
  readonly told: Set<number>;
  /** Orders that the shop thought better of; a writer that starts again may do so again. */
  readonly rolledBack: Set<number>;
  /** In this run. */
  effects: number;
  duplicates: number;
  lostAnswers: number;
  turnedAway: number;
  readonly kills: Record<Role, number>;
}

export function createOutboxTally(): OutboxTally {
  return {
    told: new Set(),
    rolledBack: new Set(),
    effects: 0,
    duplicates: 0,
    lostAnswers: 0,
    turnedAway: 0,
    kills: { writer: 0, relay: 0, consumer: 0 },
  };
}

/** `before`: effects of earlier runs in the same folder. */
export function addToTally(tally: OutboxTally, message: RoleMessage, before: number): void {
  switch (message.kind) {
    case 'committed':
      tally.told.add(message.order);
      return;
    case 'rolled-back':
      tally.rolledBack.add(message.order);
      return;
    case 'effects':
      tally.effects = message.count - before;
      return;
    case 'duplicate':
      tally.duplicates++;
      return;
    case 'lost-answer':
      tally.lostAnswers++;
      return;
    case 'turned-away':
      tally.turnedAway++;
      return;
    case 'ready':
    case 'all-written':
  }
}
