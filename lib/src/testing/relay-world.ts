import type { RelayEvent } from '../relay/events.ts';
import { memoryOutbox, type MemoryOutbox, type NewMessage } from '../relay/memory-store.ts';
import type { RelayOptions } from '../relay/options.ts';
import type { OutgoingMessage, Publisher, PublishResult } from '../relay/publisher.ts';
import { createRelay, type Relay } from '../relay/relay.ts';
import { VirtualClock } from './virtual-clock.ts';

export type Answer = PublishResult['kind'] | 'throw' | 'hang';

export interface ScriptedBroker extends Publisher {
  publish: Publisher['publish'];
  /** What it says to a message; `published` where this is undefined. */
  says: (message: OutgoingMessage) => Answer | undefined;
  /** The batches it was given. */
  readonly calls: string[][];
  latencyMs: number;
}

/** Relays over an outbox in memory and brokers that do as they are told, in virtual time. */
export class RelayWorld {
  readonly clock = new VirtualClock();
  readonly outbox: MemoryOutbox = memoryOutbox(() => this.clock.monotonicMs() + 1_700_000_000_000);
  readonly events: RelayEvent[] = [];
  /** Ids, in the order the brokers confirmed them. */
  readonly published: string[] = [];
  readonly #relays: Relay[] = [];

  /** Stops all relays. */
  async end(): Promise<void> {
    await this.clock.until(Promise.all(this.#relays.map((relay) => relay.stop())));
  }

  broker(given: Partial<Publisher> = {}): ScriptedBroker {
    const { clock, published } = this;
    const self: ScriptedBroker = {
      name: 'test',
      order: 'stops-at-failure',
      ...given,
      calls: [],
      latencyMs: 1,
      says: () => undefined,
      async publish(batch, signal) {
        self.calls.push(batch.map(({ id }) => id));
        await clock.sleep(self.latencyMs);
        const answers = batch.map((message) => self.says(message));
        if (answers.includes('throw')) throw new Error('the batch broke');
        if (answers.includes('hang')) {
          await new Promise((_, reject) => signal.addEventListener('abort', reject));
        }
        const broken = new Set<string | undefined>();
        return batch.map(({ id, key }, i): PublishResult => {
          const kind = answers[i] ?? 'published';
          const isBehind = self.order === 'stops-at-failure' && key !== undefined && broken.has(key);
          if (kind === 'published' && !isBehind) {
            published.push(id);
            return { kind };
          }
          broken.add(key);
          if (kind === 'throw' || kind === 'hang' || kind === 'published') {
            return { kind: 'retriable', reason: 'behind' };
          }
          return { kind, reason: 'as told' };
        });
      },
    };
    return self;
  }

  relay(publisher: Publisher | readonly Publisher[], options: Partial<RelayOptions> = {}): Relay {
    const { clock, events } = this;
    const made = createRelay({
      store: this.outbox,
      publishers: [publisher].flat(),
      clock: { now: () => clock.monotonicMs(), schedule: (ms, callback) => clock.schedule(ms, callback) },
      random: () => 0.5,
      onEvent: (event) => events.push(event),
      ...options,
    });
    this.#relays.push(made);
    return made;
  }
}

/** `m0`, `m1`, … for the address `a` of the publisher `test`; with a key, that instead of `m`. */
export function messages(count: number, of: Partial<NewMessage> = {}): NewMessage[] {
  return ids(count, of.key).map((id) => ({ id, target: 'test', address: 'a', ...of }));
}

export function ids(count: number, key = 'm'): string[] {
  return Array.from({ length: count }, (_, i) => `${key}${i}`);
}
