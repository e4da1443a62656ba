import type { Backlog } from '../database.ts';

/** A way to get a backlog out of PostgreSQL. */
export interface Contender {
  readonly name: string;
  readonly open: (url: string) => Promise<Opened>;
}

export interface Opened {
  /** Puts a backlog in place of what was there. */
  fill(backlog: Backlog): Promise<void>;
  /** Publishes, which does nothing but call `published`, until the signal aborts; resolves when all of it is written down. */
  drain(published: (count: number) => void, signal: AbortSignal): Promise<void>;
  /** Messages that are not written down as published. */
  left(): Promise<number>;
  close(): Promise<void>;
}

export const batchMax = 100;
