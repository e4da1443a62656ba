import { Hooks } from './hooks.ts';
import { Turns } from './turns.ts';

/** Why a level can only be rolled back. `asked`: its own scope said so, which is no surprise to anybody. */
export type RollbackOnly = { readonly kind: 'asked' } | { readonly kind: 'failed'; readonly cause: unknown };

/**
 * What can be undone alone: the transaction itself, or a savepoint in it. Scopes that join share it. A savepoint holds
 * its parent's turn from beginning to end, so that at any time one level has the connection, and siblings come one after
 * the other.
 */
export class Level {
  readonly parent: Level | undefined;
  readonly turns = new Turns();
  readonly hooks = new Hooks();
  /** Whether the server knows of it. It is told with the first statement, not before. */
  isOpen = false;
  /** Unique on its connection. Undefined: the transaction itself, or not yet open. */
  savepoint: string | undefined;
  /** Of a savepoint: whether what happened in it became part of its parent, or is undone. */
  fate: 'open' | 'released' | 'undone' = 'open';
  /** The first statement that failed in it, whether somebody caught that or not. */
  firstFailure: { readonly error: unknown } | undefined;
  #rollbackOnly: RollbackOnly | undefined;

  constructor(parent: Level | undefined) {
    this.parent = parent;
  }

  get rollbackOnly(): RollbackOnly | undefined {
    return this.#rollbackOnly;
  }

  /** The first reason stands, except that a failure weighs more than a wish. */
  mark(reason: RollbackOnly): void {
    if (this.#rollbackOnly === undefined || this.#rollbackOnly.kind === 'asked') this.#rollbackOnly = reason;
  }
}
