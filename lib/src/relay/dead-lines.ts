/**
 * Which lines wait for a dead letter, by their full names: those the store knows of, and those whose message was given up here
 * and is not in the store yet.
 *
 * - B1 A look that began before a dead letter was written down does not show it; the line waits all the same.
 * - B2 What an older look has found is not put above what a newer one has.
 */
import type { Lane } from './lane.ts';

interface GivenUp {
  readonly lane: Lane;
  /** The last look that had begun when it was written down; undefined: it is not. */
  unseenBy: number | undefined;
}

export class DeadLines {
  #known: ReadonlySet<string> = new Set();
  readonly #givenUp = new Map<string, GivenUp>();
  /** Something was given up in a lane that has left since the last look. */
  #hasLeft = false;
  #begun = 0;
  #newest = 0;

  has(name: string): boolean {
    return this.#known.has(name) || this.#givenUp.has(name);
  }

  get isEmpty(): boolean {
    return this.#known.size === 0 && this.#givenUp.size === 0;
  }

  givesUp(name: string, lane: Lane): void {
    this.#givenUp.set(name, { lane, unseenBy: undefined });
  }

  isWritten(name: string): void {
    const one = this.#givenUp.get(name);
    if (one !== undefined) one.unseenBy = this.#begun;
  }

  /** What was given up there is a matter of the lane's next relay. */
  leave(lane: Lane): void {
    for (const [name, one] of this.#givenUp) {
      if (one.lane !== lane) continue;
      this.#givenUp.delete(name);
      this.#hasLeft = true;
    }
  }

  /** Begins a look at the store: what is returned takes its answer, and gives back whether a line waits no longer. */
  look(): (names: ReadonlySet<string>) => boolean {
    const look = ++this.#begun;
    return (names) => {
      if (look < this.#newest) return false;
      this.#newest = look;
      const before = [...this.#known, ...this.#givenUp.keys()];
      this.#known = names;
      for (const [name, { unseenBy }] of this.#givenUp) {
        if (unseenBy !== undefined && unseenBy < look) this.#givenUp.delete(name);
      }
      const isFreed = this.#hasLeft || before.some((name) => !this.has(name));
      this.#hasLeft = false;
      return isFreed;
    };
  }
}
