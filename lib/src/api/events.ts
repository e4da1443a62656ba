/**
 * Who follows the changes of transactions.
 *
 * Owns: the subscribers of GET /v1/events, what waits for each of them, their heartbeat and their end.
 * Does not own: the facts. A change that a subscriber missed is in the store; it lists after every reconnect.
 *
 * - E1 Publishing never waits and never fails: it is called on the engine's hot path.
 * - E2 What waits for one subscriber is bounded. Who reads too slowly is told so in a last event, and dropped.
 * - E3 A change is printed once, however many read it, and not at all when nobody does.
 */
import type { Status } from '../core/patterns.ts';
import { SettleError } from '../util/errors.ts';
import type { TransactionChange } from '../wire/transaction.ts';

export interface EventHubOptions {
  /** Subscribers at once; the next one is refused as `overloaded`. Default 100. */
  readonly subscribersMax?: number;
  /** Changes that may wait for one subscriber. Default 1,000. */
  readonly waitingMax?: number;
  /** Milliseconds between two heartbeats, which keep proxies from closing a quiet stream. Default 15,000. */
  readonly heartbeatMs?: number;
}

/** Which changes a subscriber wants; all when it names nothing. */
export interface EventFilter {
  readonly gid?: string;
  readonly status?: readonly Status[];
}

export interface EventHub {
  /** Hand this to the engine as its observer, or call it from there. Other kinds of events are ignored. */
  readonly observe: (
    event: TransactionChange | { readonly kind: 'call' | 'commit' | 'circuit' | 'alarm' },
  ) => void;
  /** A stream of server-sent events. Throws `overloaded`, or `shutting_down` after a close. */
  subscribe(filter: EventFilter, signal?: AbortSignal): AsyncIterable<string>;
  /** Ends every stream with a `closing` event, so that a server can stop. */
  close(): void;
  readonly subscribers: number;
}

/** Makes a hub without subscribers. It holds a timer only while it has some, and that does not keep a process alive. */
export function createEventHub(options: EventHubOptions = {}): EventHub {
  const { subscribersMax = 100, waitingMax = 1_000, heartbeatMs = 15_000 } = options;
  const subscribers = new Set<Subscriber>();
  let heart: NodeJS.Timeout | undefined;
  let closed = false;

  const leave = (subscriber: Subscriber): void => {
    subscribers.delete(subscriber);
    if (subscribers.size > 0) return;
    clearInterval(heart);
    heart = undefined;
  };
  const beat = (): void => {
    for (const subscriber of subscribers) subscriber.beat();
  };

  return {
    observe(event) {
      if (event.kind !== 'transaction' || subscribers.size === 0) return;
      let text: string | undefined;
      for (const subscriber of subscribers) {
        if (!subscriber.wants(event)) continue;
        text ??= frame('transaction', event);
        subscriber.push(text);
      }
    },
    subscribe(filter, signal) {
      if (closed) throw new SettleError('shutting_down', 'the coordinator is stopping');
      if (subscribers.size >= subscribersMax) {
        throw new SettleError('overloaded', `${subscribersMax} subscribers follow the events already`, {
          next: 'Close one of them, or raise the limit',
          retryAfterMs: 5_000,
        });
      }
      const subscriber = new Subscriber(filter, waitingMax, leave);
      subscribers.add(subscriber);
      heart ??= setInterval(beat, heartbeatMs).unref();
      if (signal?.aborted) subscriber.end();
      else signal?.addEventListener('abort', () => subscriber.end(), { once: true });
      return subscriber;
    },
    close() {
      closed = true;
      for (const subscriber of subscribers) {
        subscriber.finish(frame('closing', { reason: 'the coordinator is stopping; connect again' }));
      }
    },
    get subscribers() {
      return subscribers.size;
    },
  };
}

const comment = ': settle\n\n';
const reconnectMs = 2_000;

function frame(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

type Phase =
  | { readonly kind: 'open' }
  /** Gives what still waits, then ends. */
  | { readonly kind: 'finishing' }
  | { readonly kind: 'ended' };

class Subscriber implements AsyncIterable<string>, AsyncIterator<string, undefined> {
  readonly #filter: EventFilter;
  readonly #statuses: ReadonlySet<Status> | undefined;
  readonly #waitingMax: number;
  readonly #leave: (subscriber: Subscriber) => void;
  // The headers leave with the first bytes, so a stream that stays quiet must say something at once.
  #waiting: string[] = [`retry: ${reconnectMs}\n${comment}`];
  #reader: ((result: IteratorResult<string, undefined>) => void) | undefined;
  #phase: Phase = { kind: 'open' };

  constructor(filter: EventFilter, waitingMax: number, leave: (subscriber: Subscriber) => void) {
    this.#filter = filter;
    this.#statuses = filter.status === undefined ? undefined : new Set(filter.status);
    this.#waitingMax = waitingMax;
    this.#leave = leave;
  }

  wants({ gid, status }: TransactionChange): boolean {
    if (this.#filter.gid !== undefined && this.#filter.gid !== gid) return false;
    return this.#statuses === undefined || this.#statuses.has(status);
  }

  push(text: string): void {
    if (this.#phase.kind !== 'open') return;
    if (this.#waiting.length >= this.#waitingMax) {
      // E2: what it did not read is worth nothing without what follows, so it gives way to the notice.
      const missed = this.#waiting.length + 1;
      this.#waiting = [];
      this.finish(
        frame('dropped', {
          reason: `read too slowly; ${missed} changes were not sent; connect again and list`,
        }),
      );
      return;
    }
    this.#waiting.push(text);
    this.#give();
  }

  beat(): void {
    if (this.#phase.kind === 'open' && this.#waiting.length === 0) this.push(comment);
  }

  /** One last event after what already waits. */
  finish(last: string): void {
    if (this.#phase.kind !== 'open') return;
    this.#phase = { kind: 'finishing' };
    this.#leave(this);
    this.#waiting.push(last);
    this.#give();
  }

  /** At once: nobody reads any more. */
  end(): void {
    if (this.#phase.kind === 'ended') return;
    this.#phase = { kind: 'ended' };
    this.#leave(this);
    this.#waiting = [];
    this.#give();
  }

  [Symbol.asyncIterator](): AsyncIterator<string, undefined> {
    return this;
  }

  next(): Promise<IteratorResult<string, undefined>> {
    return new Promise((resolve) => {
      this.#reader = resolve;
      this.#give();
    });
  }

  return(): Promise<IteratorResult<string, undefined>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Everything that waits goes to the reader as one chunk. */
  #give(): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    if (this.#waiting.length > 0) {
      const value = this.#waiting.length === 1 ? (this.#waiting[0] ?? '') : this.#waiting.join('');
      this.#waiting = [];
      this.#reader = undefined;
      reader({ done: false, value });
    } else if (this.#phase.kind !== 'open') {
      this.#phase = { kind: 'ended' };
      this.#reader = undefined;
      reader({ done: true, value: undefined });
    }
  }
}
