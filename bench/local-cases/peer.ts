/** What a way of running local transactions looks like to the cases: the same few words for all of them. */

export interface Peer {
  readonly name: string;
  /** Its version, and how it is set up here: as its own documentation recommends. */
  readonly about: string;
  /** What it has beside a plain transaction; a case that needs more is none for it. */
  readonly offers: readonly Offer[];
  open(options: OpenOptions): Promise<OpenPeer>;
}

/**
 * A scope that takes part in the current transaction (where the client is only handed on, there is none: that is a plain
 * call), a scope of its own within it, a transaction beside it.
 */
export type Propagation = 'required' | 'nested' | 'requiresNew';
export type Offer = Propagation | 'afterCommit';

export interface OpenOptions {
  readonly url: string;
  /** How many connections its pool may hold. */
  readonly poolMax: number;
  /** How long to wait for one of them. Absent: what the peer does when nobody says. */
  readonly acquireTimeoutMs?: number;
}

export interface OpenPeer {
  /** A transaction where there is none, as a request begins it. */
  run<T>(work: Work<T>): Promise<T>;
  /** As a module does that knows of no transaction: by the handle of the whole application. */
  insert(text: string): Promise<void>;
}

export type Work<T> = (unit: Unit) => Promise<T>;

/** Where the work of a transaction, or of a scope within it, happens. */
export interface Unit {
  insert(text: string): Promise<void>;
  /** A statement that the database refuses. */
  fail(): Promise<void>;
  /** Only for what the peer offers. */
  run<T>(propagation: Propagation, work: Work<T>): Promise<T>;
  /** Only where it is offered. */
  afterCommit(hook: () => void): void;
}

/** Something was asked for that the peer does not offer; the cases never do. */
export function notOffered(what: Offer): never {
  throw new Error(`${what} is not offered`);
}
