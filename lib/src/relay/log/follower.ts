/**
 * From the commits of a log to the looks of a relay.
 *
 * - L1 The relay is woken for a commit once it is visible: logs tell of it before that, and a look that comes too early finds
 *   nothing.
 * - L2 What is acknowledged is the part of the log without gaps whose commits the relay has looked for (HandledPrefix).
 * - L3 What cannot be followed is given up, with the connection: the next one begins with a look at the whole table. So is a
 *   relay that does not come to look, since what is not acknowledged keeps PostgreSQL from shutting down.
 */
import { pause } from '../wake/pause.ts';
import type { Wake } from '../wake.ts';
import { HandledPrefix } from './handled-prefix.ts';

export interface FollowerOptions<Commit> {
  readonly wake: Wake;
  readonly signal: AbortSignal;
  /** Which of these commits, oldest first, are visible now. May judge later ones too. */
  readonly visible: (commits: readonly Commit[]) => Promise<(commit: Commit) => boolean>;
  /** Milliseconds that a look may take. */
  readonly lookMs: number;
  readonly giveUp: (error: unknown) => void;
}

/** Commits that are not visible yet, or that no look was begun for; more are given up. */
export const unseenMax = 100_000;
/** Looks at a time: whoever has not ended so many has no use for another. */
export const looksMax = 16;
/** Milliseconds between two questions whether a commit is visible by now: doubling from 1. */
const askAgainMsMax = 50;

export class Follower<Position, Commit> {
  readonly #options: FollowerOptions<Commit>;
  readonly #prefix = new HandledPrefix<Position, Commit>();
  #isFollowing = false;
  #looks = 0;
  /** Since when, by their numbers. */
  readonly #looking = new Map<number, number>();
  #isWatching = false;
  #lookEnded = Promise.withResolvers<void>();

  constructor(options: FollowerOptions<Commit>) {
    this.#options = options;
  }

  get acknowledged(): Position | undefined {
    return this.#prefix.acknowledged;
  }

  passed(position: Position): void {
    this.#prefix.passed(position);
  }

  committed(position: Position, commit: Commit): void {
    if (this.#prefix.unseen >= unseenMax) {
      return this.#options.giveUp(new Error(`${unseenMax} commits of the log are not visible yet`));
    }
    this.#prefix.committed(position, commit);
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    this.#follow().then(undefined, this.#options.giveUp);
  }

  async #follow(): Promise<void> {
    const { visible, signal } = this.#options;
    for (let misses = 0; this.#prefix.unseen > 0;) {
      if (this.#looking.size >= looksMax) {
        await this.#lookEnded.promise;
        continue;
      }
      const isVisible = await visible(this.#prefix.unseenCommits());
      if (signal.aborted) return;
      const look = ++this.#looks;
      if (this.#prefix.seen(isVisible, look) > 0) {
        misses = 0;
        this.#look(look);
      } else if (!(await pause(Math.min(askAgainMsMax, 2 ** misses++), signal))) {
        return;
      }
    }
    this.#isFollowing = false;
  }

  #look(look: number): void {
    this.#looking.set(look, performance.now());
    void this.#options.wake().then(() => {
      this.#looking.delete(look);
      this.#prefix.looked(look);
      this.#lookEnded.resolve();
      this.#lookEnded = Promise.withResolvers();
    });
    if (this.#isWatching) return;
    this.#isWatching = true;
    this.#watch().then(undefined, this.#options.giveUp);
  }

  /** One timer for all looks, which nearly always end long before. */
  async #watch(): Promise<void> {
    const { lookMs, signal } = this.#options;
    while (this.#looking.size > 0) {
      const [sinceMs = 0] = this.#looking.values();
      const leftMs = sinceMs + lookMs - performance.now();
      if (leftMs <= 0) throw new Error(`the relay does not come to look: ${lookMs} ms since it was woken`);
      if (!(await pause(leftMs, signal))) return;
    }
    this.#isWatching = false;
  }
}
