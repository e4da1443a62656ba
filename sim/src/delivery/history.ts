/** What happened to the messages of a run, as it is seen from outside the relays and consumers. */

export interface Written {
  readonly id: string;
  readonly key: string;
}

/** A message as it lies in the broker's log. */
export interface LogEntry extends Written {
  readonly partition: number;
  readonly offset: bigint;
}

export interface Effect extends Written {
  /** The member of the group that did the work. */
  readonly by: string;
}

export interface DeliveryHistory {
  /** In the order of their commits. */
  readonly committed: readonly Written[];
  readonly rolledBack: ReadonlySet<string>;
  readonly log: readonly LogEntry[];
  readonly effects: readonly Effect[];
  /** Settlements under a token that had passed on, and changed a row all the same. */
  readonly staleSettlements: readonly string[];
  /** Still in the outbox at the end, and behind which position of which partition the group is. */
  readonly waiting: readonly string[];
  readonly behind: readonly string[];
  /** Whether a process may have hung for longer than its lease: what it then still publishes comes late. */
  readonly hasPauses: boolean;
}
