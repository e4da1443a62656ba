/** The consumers' database in the world: effects and the rows of an inbox, committed together or not at all. */
import type { ConsumerInbox } from '../../../lib/src/consumer/consumer.ts';
import type { Once } from '../../../lib/src/inbox/inbox.ts';
import type { Process } from '../world/process.ts';
import type { Rng } from '../world/random.ts';
import type { Schedule } from '../world/schedule.ts';
import type { Effect } from './history.ts';
import type { DeliveryWeather } from './weather.ts';

export class ConsumerDatabase {
  readonly effects: Effect[] = [];
  readonly #seen = new Set<string>();
  /** By message: those who wait for the transaction that has inserted its row. */
  readonly #locks = new Map<string, (() => void)[]>();
  readonly #schedule: Schedule;
  readonly #weather: DeliveryWeather;
  readonly #random: Rng;

  constructor(schedule: Schedule, weather: DeliveryWeather, random: Rng) {
    this.#schedule = schedule;
    this.#weather = weather;
    this.#random = random;
  }

  for(process: Process, keyOf: (id: string) => string): ConsumerInbox<string> {
    const trip = (): Promise<void> =>
      new Promise((resolve) => {
        this.#schedule.after(1 + this.#random.next() * this.#weather.latencyMs, () => process.tell(resolve));
      });
    return {
      once: async (_consumer, id, work): Promise<Once<undefined>> => {
        await trip();
        await this.#lock(id);
        // The server rolls back what its client does not commit: a process that dies lets go in time, too.
        const unlock = this.#unlocking(id);
        if (this.#seen.has(id)) {
          unlock();
          return { duplicate: true, result: undefined };
        }
        await trip();
        if (this.#random.chance(this.#weather.workFails)) {
          unlock();
          throw new Error('the work failed');
        }
        await work(id);
        await trip();
        if (!unlock()) throw new Error('the transaction took too long, and was rolled back');
        this.#seen.add(id);
        this.effects.push({ id, key: keyOf(id), by: process.name });
        await trip();
        if (this.#random.chance(this.#weather.storeLosesAnswer))
          throw new Error('the answer to COMMIT was lost');
        return { duplicate: false, result: undefined };
      },
      dead: {
        add: () => Promise.reject(new Error('nothing dies in this world')),
        list: () => Promise.resolve({ items: [], next: undefined }),
        purge: () => Promise.resolve(0),
      },
    };
  }

  /** The transaction ends by itself after this long. Says whether it was still open when it is ended. */
  #unlocking(id: string): () => boolean {
    let isOpen = true;
    const end = (): boolean => {
      if (!isOpen) return false;
      isOpen = false;
      const [next, ...others] = this.#locks.get(id) ?? [];
      if (next === undefined) this.#locks.delete(id);
      else this.#locks.set(id, others);
      next?.();
      return true;
    };
    this.#schedule.after(transactionMaxMs, end);
    return end;
  }

  async #lock(id: string): Promise<void> {
    const waiting = this.#locks.get(id);
    if (waiting === undefined) return void this.#locks.set(id, []);
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
}

const transactionMaxMs = 3_000;
