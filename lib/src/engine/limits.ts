/** Every limit of the engine has a name, a unit and a default here (D9). */
export interface EngineLimits {
  /** Unfinished transactions held in memory; beyond it submits are refused as `overloaded`. Default 10,000. */
  readonly transactionsMax: number;
  /** Of those, how many recovery may bring in, so that new ones are still served meanwhile. Default 2,000. */
  readonly recoveringMax: number;
  /** Transactions taken over in one claim. Default 500. */
  readonly claimBatch: number;
  /** Milliseconds between two looks for due transactions nobody owns. Default 1,000. */
  readonly claimEveryMs: number;
  /** Writes waiting for the store; beyond it submits are refused as `overloaded`. Default 20,000. */
  readonly writesWaitingMax: number;
  /** Milliseconds one branch call may take. Default 10,000. */
  readonly callTimeoutMs: number;
  /** Calls under way to one destination. Default 256. */
  readonly callsPerDestinationMax: number;
  /** Calls that wait for one destination; what comes beyond is postponed, and leaves memory meanwhile. Default 5,000. */
  readonly callsWaitingMax: number;
  /**
   * Milliseconds that a call beyond it is sent away, and up to as long again: longer than `residentMs`, so that it leaves
   * memory, and short enough that it is back soon once the destination goes on. Default 6,000.
   */
  readonly queueFullPauseMs: number;
  /** Calls in a row without an answer that open a destination's circuit. Default 20. */
  readonly circuitFailures: number;
  /** Milliseconds of the first pause of an open circuit; doubles up to `circuitPauseMaxMs`. Default 500. */
  readonly circuitPauseMs: number;
  /** Default 15,000. */
  readonly circuitPauseMaxMs: number;
  /** Milliseconds until a participant that said `ongoing` is asked again, unless it said when. Default 1,000. */
  readonly ongoingPauseMs: number;
  /**
   * A transaction that has nothing to do for longer than these milliseconds is given back to the store until it is due;
   * one that waits for its initiator, when nothing was heard of that for as long. Default 5,000.
   */
  readonly residentMs: number;
  /** Of more than its share, how many a coordinator lets the others have at one renewal of its lease. Default 500. */
  readonly offerBatch: number;
  /** Milliseconds a lease holds without renewal. Renewed at a third of it. Default 6,000. */
  readonly leaseMs: number;
  /** Milliseconds that a stop waits for calls under way. Default 15,000. */
  readonly drainMs: number;
  /** Finished transactions are kept this long. Default 7 days. */
  readonly retentionMs: number;
  /** And at most this many of them. Default 1,000,000. */
  readonly retentionMax: number;
  /** Deleted in one piece of work. Default 500. */
  readonly pruneBatch: number;
  /** Milliseconds between two of them. Default 1,000. */
  readonly pruneEveryMs: number;
}

export const engineLimits: EngineLimits = {
  transactionsMax: 10_000,
  recoveringMax: 2_000,
  claimBatch: 500,
  claimEveryMs: 1_000,
  writesWaitingMax: 20_000,
  callTimeoutMs: 10_000,
  callsPerDestinationMax: 256,
  callsWaitingMax: 5_000,
  queueFullPauseMs: 6_000,
  circuitFailures: 20,
  circuitPauseMs: 500,
  circuitPauseMaxMs: 15_000,
  ongoingPauseMs: 1_000,
  residentMs: 5_000,
  offerBatch: 500,
  leaseMs: 6_000,
  drainMs: 15_000,
  retentionMs: 7 * 24 * 60 * 60 * 1_000,
  retentionMax: 1_000_000,
  pruneBatch: 500,
  pruneEveryMs: 1_000,
};
