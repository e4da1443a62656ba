/** A broker of the world: logs by partition, one group that reads them, and all the ways in which it fails to say so. */
import type { OutgoingMessage, PublishResult } from '../../../lib/src/relay/publisher.ts';
import type { Process } from '../world/process.ts';
import type { Rng } from '../world/random.ts';
import type { Schedule } from '../world/schedule.ts';
import type { LogEntry } from './history.ts';
import type { DeliveryWeather } from './weather.ts';

export const partitions = 4;

export interface LogRecord extends LogEntry {
  readonly message: OutgoingMessage;
}

/** A member of the group has a partition until the next rebalance, which starts a new generation. */
export interface Membership {
  readonly generation: number;
  readonly partitions: readonly number[];
}

export class Broker {
  readonly logs: LogRecord[][] = Array.from({ length: partitions }, () => []);
  /** In the order of arrival. */
  readonly all: LogRecord[] = [];
  readonly committed: bigint[] = Array.from({ length: partitions }, () => 0n);
  #generation = 0;
  #members: readonly string[] = [];
  readonly #schedule: Schedule;
  readonly #weather: DeliveryWeather;
  readonly #random: Rng;

  constructor(schedule: Schedule, weather: DeliveryWeather, random: Rng) {
    this.#schedule = schedule;
    this.#weather = weather;
    this.#random = random;
  }

  /** Between a client and it: what is asked arrives late, and the answer later, if the client still lives. */
  #ask<T>(client: Process, answer: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const weather = this.#weather;
      this.#schedule.after(1 + this.#random.next() * weather.latencyMs, () => {
        if (this.#random.chance(weather.brokerRefuses)) {
          return client.tell(() => reject(new Error('the broker is down')));
        }
        const value = answer();
        const isLost = this.#random.chance(weather.brokerLosesAnswer);
        this.#schedule.after(1 + this.#random.next() * weather.latencyMs, () =>
          client.tell(() => (isLost ? reject(new Error('the answer was lost')) : resolve(value))),
        );
      });
    });
  }

  publish(client: Process, batch: readonly OutgoingMessage[]): Promise<readonly PublishResult[]> {
    return this.#ask(client, () => {
      const stopped = new Set<string | undefined>();
      return batch.map((message): PublishResult => {
        const { key } = message;
        if (!stopped.has(key) && this.#random.chance(this.#weather.brokerPoisons)) {
          stopped.add(key);
          return { kind: 'poison', reason: 'as drawn' };
        }
        if (this.#random.chance(this.#weather.brokerFails)) stopped.add(key);
        if (stopped.has(key)) {
          return { kind: this.#random.chance(0.5) ? 'retriable' : 'unavailable', reason: 'as drawn' };
        }
        this.#append(message);
        return { kind: 'published' };
      });
    });
  }

  #append(message: OutgoingMessage): void {
    const { id, key = '' } = message;
    const partition = Number(key.slice(1)) % partitions;
    const log = this.logs[partition] ?? [];
    const record = { id, key, partition, offset: BigInt(log.length), message };
    log.push(record);
    this.all.push(record);
  }

  // ---- the group

  rebalance(members: readonly string[]): void {
    this.#generation++;
    this.#members = members;
  }

  membership(client: Process): Promise<Membership> {
    return this.#ask(client, () => {
      const mine = this.#members.indexOf(client.name);
      const all = Array.from({ length: partitions }, (_, i) => i);
      return {
        generation: this.#generation,
        partitions: mine === -1 ? [] : all.filter((partition) => partition % this.#members.length === mine),
      };
    });
  }

  fetch(client: Process, partition: number, from: bigint): Promise<readonly LogRecord[]> {
    return this.#ask(client, () => (this.logs[partition] ?? []).slice(Number(from), Number(from) + 10));
  }

  position(client: Process, partition: number): Promise<bigint> {
    return this.#ask(client, () => this.committed[partition] ?? 0n);
  }

  /** Refused by whoever has lost the partition since. */
  commit(client: Process, generation: number, partition: number, position: bigint): Promise<boolean> {
    return this.#ask(client, () => {
      if (generation !== this.#generation) return false;
      this.committed[partition] = position;
      return true;
    });
  }
}
