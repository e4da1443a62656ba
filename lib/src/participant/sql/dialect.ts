import type { BarrierCall, BarrierRow } from '../barrier.ts';
import type { Failure } from './failure.ts';
import type { SqlResult, Statement } from './statement.ts';

/** What is different from one SQL database to the next: the barrier's statements, and the meaning of errors. */
export interface BarrierDialect {
  /** Inserts a row unless one with its key is there; waits for a transaction that has inserted it and is open. */
  insert(row: BarrierRow): Statement;
  /** Whether that insert placed its row. */
  isPlaced(result: SqlResult): boolean;
  /** Reads `by_op` and `answer`. */
  select(key: BarrierCall): Statement;
  /** The same, locked until the end of the transaction and never from an older snapshot. */
  selectLocked(key: BarrierCall): Statement;
  updateAnswer(key: BarrierCall, answer: string): Statement;
  deleteOld(age: PruneOptions): Statement;
  /** What the driver's error means; undefined for any that means nothing in particular. */
  failureOf(error: unknown): Failure | undefined;
}

export interface PruneOptions {
  /** Milliseconds since the row was inserted. */
  readonly olderThanMs: number;
  readonly limit: number;
}
