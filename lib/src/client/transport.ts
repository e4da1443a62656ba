import type { Coordinator } from '../core/coordinator.ts';
import type { Status } from '../core/patterns.ts';
import type { TransactionChange } from '../wire/transaction.ts';

/** How the verbs reach a coordinator: over HTTP, or in the same process. */
export interface Transport extends Coordinator {
  /**
   * The changes of transactions from now on. Ends when the signal aborts. Throws `unavailable` when changes may have
   * been missed: list, then follow again.
   */
  follow(query: ChangeQuery, signal: AbortSignal | undefined): AsyncIterable<TransactionChange>;
  close(): Promise<void>;
}

export interface ChangeQuery {
  readonly gid?: string;
  /** Any of these. */
  readonly status?: readonly Status[];
}
