/**
 * From the commits of a log to the looks of a relay.
 *
 * - L1 The relay is woken for a commit once it is visible: logs tell of it before that, and a look that comes too early finds
 *   nothing.
 * - L2 What is acknowledged is the part of the log without gaps whose commits the relay has looked for (HandledPrefix).
 * - L3 What cannot be followed is given up, with the connection: the next one begins with a look at the whole table.
 */
import { pause } from '../wake/pause.ts';
import type { Wake } from '../wake.ts';
import { HandledPrefix } from './handled-prefix.ts';

export interface FollowerOptions<Commit> {
  readonly wake: Wake;
  readonly signal: AbortSignal;
  /** Which of these commits, oldest first, are visible now. May judge later ones too. */
  readonly visible: (commits: readonly Commit[]) => Promise<(commit: Commit) => boolean>;
  /** What is acknowledged may have changed. */
  readonly moved: () => void;
  readonly giveUp: (error: unknown) => void;
}

/** Commits that are not visible yet; more are given up. */
export const unseenMax = 100_000;
/** Milliseconds between two questions whether a commit is visible by now: doubling from 1. */
const askAgainMsMax = 50;

export class Follower<Position, Commit> {
  readonly #options: FollowerOptions<Commit>;
  readonly #prefix = new HandledPrefix<Position, Commit>();
  #isFollowing = false;
  #looks = 0;

  constructor(options: FollowerOptions<Commit>) {
    this.#options = options;
  }

  get acknowledged(): Position | undefined {
    return this.#prefix.acknowledged;
  }

  passed(position: Position): void {
    this.#prefix.passed(position);
    this.#options.moved();
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
    const { wake, moved } = this.#options;
    void wake().then(() => {
      this.#prefix.looked(look);
      moved();
    });
  }
}
