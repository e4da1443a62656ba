import type { Gid } from '../core/ids.ts';
import type { TransactionView } from '../core/patterns.ts';
import type { Json } from '../util/json.ts';

/** How a transaction ended, or that it has not ended yet. */
export type TransactionOutcome<Results = Readonly<Record<string, Json>>> =
  | {
      readonly status: 'committed';
      readonly gid: Gid;
      /** By branch. A branch without a result has `null`; one that an operator skipped has none. */
      readonly results: Results;
      readonly transaction: TransactionView;
    }
  /** Everything that may have happened was undone. */
  | AbortedOutcome
  /** An operator gave it up: some branches may stay as they are. */
  | {
      readonly status: 'forgotten';
      readonly gid: Gid;
      readonly reason: string;
      readonly transaction: TransactionView;
    }
  /** Durable and still going; ask again with `get(gid, { waitMs })`, or submit again with the same gid. */
  | { readonly status: 'pending'; readonly gid: Gid; readonly transaction: TransactionView };

export interface AbortedOutcome {
  readonly status: 'aborted';
  readonly gid: Gid;
  readonly reason: string;
  readonly transaction: TransactionView;
}

/** `Results` is what the definition that was submitted says its branches give back. */
export function outcomeOf<Results>(transaction: TransactionView): TransactionOutcome<Results> {
  const { gid, status, reason = '' } = transaction;
  switch (status) {
    case 'committed':
      return { status, gid, results: resultsOf(transaction) as Results, transaction };
    case 'aborted':
    case 'forgotten':
      return { status, gid, reason, transaction };
    case 'running':
    case 'finishing':
    case 'compensating':
    case 'trying':
    case 'confirming':
    case 'cancelling':
    case 'prepared':
    case 'scheduled':
    case 'delivering':
      return { status: 'pending', gid, transaction };
  }
}

export function hasEnded(transaction: TransactionView): boolean {
  return outcomeOf(transaction).status !== 'pending';
}

function resultsOf({ branches }: TransactionView): Readonly<Record<string, Json>> {
  return Object.fromEntries(
    branches.flatMap(({ branch, status, result = null }) => (status === 'skipped' ? [] : [[branch, result]])),
  );
}
