/** The errors of local transactions that say more than a code and a text. */
import { messageOf, SettleError } from '../util/errors.ts';

/**
 * The function returned, but its transaction (or savepoint) was rolled back: something within it had failed, and the
 * failure was caught on the way. `cause` is that failure.
 */
export class UnexpectedRollback extends SettleError {
  constructor(scope: string, cause: unknown) {
    super('unexpected_rollback', `${scope} returned, but had to be rolled back: ${messageOf(cause)}`, {
      cause,
      next: 'Let the failure out, or run what may fail as a nested scope: its savepoint is undone alone',
    });
  }
}

/**
 * The transaction **is committed**, but hooks that ran after it failed. `errors` are theirs, in order; `result` is what
 * the function returned.
 */
export class PostCommitError extends SettleError {
  readonly committed = true;
  readonly errors: readonly unknown[];
  readonly result: unknown;

  constructor(scope: string, errors: readonly unknown[], result: unknown) {
    const [first] = errors;
    super('post_commit_failed', `${scope} is committed, but a hook after it failed: ${messageOf(first)}`, {
      cause: first,
      next: 'Do not run the transaction again; do what its hooks failed to do',
    });
    this.errors = errors;
    this.result = result;
  }
}

/** The answer to COMMIT did not come: the transaction is committed or rolled back, and nobody here knows which. */
export class CommitUnknown extends SettleError {
  constructor(scope: string, cause: unknown) {
    super('commit_unknown', `${scope}: no answer to its COMMIT: ${messageOf(cause)}`, {
      cause,
      next: 'Look for what it wrote before running it again, or give it an idempotency key',
    });
  }
}
