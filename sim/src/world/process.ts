/**
 * A process of the world: what it is told reaches it only while it lives, and late when it was paused.
 *
 * - O1 Dead: nothing of it runs any more, and nothing leaves it, although its promises still lie about in memory.
 * - O2 Paused: what comes meanwhile waits, and then comes all at once; the process never knows.
 * - O3 Its clock is its own: it starts where it will and runs at its own pace.
 */
import type { Clock } from '../../../lib/src/engine/ports.ts';
import type { Schedule } from './schedule.ts';

export class Process {
  life: 'alive' | 'paused' | 'dead' = 'alive';
  readonly name: string;
  readonly clock: Clock;
  /** Timers of its clock that have not run. */
  timers = 0;
  readonly #schedule: Schedule;
  #missed: (() => void)[] = [];

  /** `pace`: how many of its own milliseconds pass in one of the world's. */
  constructor(schedule: Schedule, name: string, pace = 1) {
    this.#schedule = schedule;
    this.name = name;
    const bornAt = schedule.now;
    this.clock = {
      monotonicMs: () => (schedule.now - bornAt) * pace,
      schedule: (delayMs, callback) => this.#timer(delayMs / pace, callback),
      afterTurn: (callback) => void this.#timer(0, callback),
    };
  }

  /** Runs it when the process can. */
  tell(run: () => void): void {
    if (this.life === 'alive') run();
    else if (this.life === 'paused') this.#missed.push(() => this.tell(run));
  }

  crash(): void {
    this.life = 'dead';
    this.#missed = [];
  }

  pause(): void {
    if (this.life === 'alive') this.life = 'paused';
  }

  resume(): void {
    if (this.life !== 'paused') return;
    this.life = 'alive';
    // Each in a turn of its own, as an event loop that wakes takes them one after the other.
    for (const run of this.#missed.splice(0)) this.#schedule.after(0, () => this.tell(run));
  }

  #timer(delayMs: number, callback: () => void): () => void {
    let pending = true;
    this.timers++;
    const end = (): void => {
      if (!pending) return;
      pending = false;
      this.timers--;
    };
    const cancel = this.#schedule.after(delayMs, () =>
      this.tell(() => {
        if (!pending) return;
        end();
        callback();
      }),
    );
    return () => {
      end();
      cancel();
    };
  }
}
