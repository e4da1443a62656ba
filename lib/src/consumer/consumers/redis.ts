/** `settle/consumer/redis`: consumes a Redis Stream by a consumer group, over ioredis or node-redis. */
import { headerStyles } from '../../outbox/broker-headers.ts';
import { messageOf, SettleError } from '../../util/errors.ts';
import {
  redisCommands,
  type RedisCommands,
  type RedisStreamClient,
  replyCodeOf,
} from '../../util/redis-commands.ts';
import type { HandleMessage, IncomingMessage, RunningConsumer } from '../incoming.ts';
import {
  asError,
  endedWithin,
  keepConsuming,
  type ReconnectOptions,
  type Session,
} from '../keep-consuming.ts';
import { abortGraceMs, concurrencyDefault, itemsPerTurnDefault, KeyedQueue } from '../keyed-queue.ts';
import { type Identity, readIncoming, toldBy } from '../read-incoming.ts';
import { entriesClaimed, entriesRead, type StreamEntry } from './redis-entries.ts';
import { untilHandled } from './until-handled.ts';

export type { IoredisClient, NodeRedisClient, RedisStreamClient } from '../../util/redis-commands.ts';
export type { StreamEntry } from './redis-entries.ts';

/** `Redis` of ioredis has it, and clients of node-redis. */
export type RedisReader = RedisStreamClient & {
  /** `close`, `reconnecting`. */
  on(event: string, listener: () => void): unknown;
};

export interface RedisConsumerOptions extends ReconnectOptions {
  /** Waits for messages, and for nothing else: a connection that only this consumer uses. */
  readonly reader: RedisReader;
  /** For everything but waiting; others may use it too. */
  readonly client: RedisStreamClient;
  readonly stream: string;
  /** Is made where it is missing, with all that is in the stream, or (`from: '$'`) with what comes from now on. */
  readonly group: string;
  /** Default `0`: from the beginning. */
  readonly from?: '0' | '$';
  /** Unique among those that run, and best the same after a restart: then it finds at once what it had not finished. */
  readonly consumer: string;
  /** What `createConsumer` of `settle/consumer` gives. */
  readonly handle: HandleMessage;
  /** Messages handled at a time. Default 16. */
  readonly concurrency?: number;
  /** Messages read ahead, at least `concurrency`. Default: 16 for each that is handled at a time. */
  readonly prefetch?: number;
  /** Messages that another consumer has not touched for so long are taken from it: it has died. Default 60,000. */
  readonly claimIdleMs?: number;
  /** How long a read waits for messages, and so a stop for the read. Default 1,000. */
  readonly blockMs?: number;
  /** Told when a message could not be handled, and is tried again. Default: `console.error`. */
  readonly onTrouble?: (error: Error) => void;
  /** Who a message of somebody else is: what this gives goes before what the entry says itself. Default: nothing. */
  readonly identify?: (entry: StreamEntry) => Partial<Identity>;
}

/** Entries asked for at a time. */
const countMax = 100;

/**
 * Consumes a stream: acknowledges a message (`XACK`) once its transaction has committed, or its dead letter is kept; begins with
 * what this consumer had not acknowledged, and takes over what dead consumers of the group left behind.
 *
 * Order per key holds as long as the group has one consumer: Redis spreads a stream over all consumers of a group without
 * looking at keys. To share work and keep order, use several streams, chosen by key. Entries that the stream was trimmed
 * of before they were handled are gone; `onDisconnect` is told of none, since nobody knows of them but the stream's length.
 *
 * Needs Redis 6.2. Throws `config_invalid` for limits that are none.
 */
export function consumeRedis(options: RedisConsumerOptions): RunningConsumer {
  const { concurrency = concurrencyDefault, claimIdleMs = 60_000, blockMs = 1_000 } = options;
  const { prefetch = concurrency * itemsPerTurnDefault } = options;
  for (const [option, value] of Object.entries({ claimIdleMs, blockMs })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new SettleError('config_invalid', `${option} is ${value}, not a whole number from 1 on`);
  }
  const limits: Limits = { concurrency, prefetch, claimIdleMs, blockMs };
  // Limits that are none are found out before anything is asked.
  newQueue(limits, () => Promise.resolve());
  let session: RedisSession | undefined;
  // What was on its way is ours by now, and nobody knows of it: it has to be looked for before anything new is read.
  for (const event of ['close', 'reconnecting']) {
    options.reader.on(event, () => session?.connectionLost());
  }
  const open = async (): Promise<RedisSession> => {
    // A client may send a read again that a lost connection left without an answer. What that reads has to be pending first.
    await session?.hasRead;
    return (session = await RedisSession.open(options, limits));
  };
  return keepConsuming(open, { ...options, opensOnce: false });
}

interface Limits {
  readonly concurrency: number;
  readonly prefetch: number;
  readonly claimIdleMs: number;
  readonly blockMs: number;
}

interface Item {
  readonly id: string;
  readonly message: IncomingMessage;
}

type Run = (item: Item, signal: AbortSignal) => Promise<void>;

function newQueue({ concurrency, prefetch }: Limits, run: Run): KeyedQueue<Item> {
  return new KeyedQueue({ keyOf: ({ message }) => message.key, run, concurrency, itemsMax: prefetch });
}

class RedisSession implements Session {
  readonly over: Promise<Error>;
  /** Resolves when it reads no more. */
  readonly hasRead: Promise<void>;
  readonly #options: RedisConsumerOptions;
  readonly #limits: Limits;
  readonly #reader: RedisCommands;
  readonly #commands: RedisCommands;
  readonly #queue: KeyedQueue<Item>;
  /** Read and not acknowledged: ours as long as we touch them. */
  readonly #held = new Set<string>();
  readonly #upkeep: NodeJS.Timeout;
  readonly #ending = new AbortController();
  #isKeepingUp = false;
  #isOver: (why: Error) => void = () => undefined;

  static async open(options: RedisConsumerOptions, limits: Limits): Promise<RedisSession> {
    const { client, stream, group, from = '0' } = options;
    try {
      await redisCommands(client).send('XGROUP', 'CREATE', stream, group, from, 'MKSTREAM');
    } catch (error) {
      if (replyCodeOf(messageOf(error)) !== 'BUSYGROUP') throw error;
    }
    return new RedisSession(options, limits);
  }

  private constructor(options: RedisConsumerOptions, limits: Limits) {
    this.#options = options;
    this.#limits = limits;
    this.#reader = redisCommands(options.reader);
    this.#commands = redisCommands(options.client);
    this.#queue = newQueue(limits, (item, signal) => this.#handle(item, signal));
    this.over = new Promise((resolve) => (this.#isOver = resolve));
    this.hasRead = this.#read().catch((error: unknown) => this.#end(asError(error)));
    this.#upkeep = setInterval(() => void this.#keepUp(), Math.ceil(limits.claimIdleMs / 3));
  }

  async end(timeoutMs: number): Promise<void> {
    this.#end(new Error('stopped'));
    clearInterval(this.#upkeep);
    await Promise.all([
      this.#queue.drain(timeoutMs),
      endedWithin(this.#limits.blockMs + abortGraceMs, this.hasRead),
    ]);
    if (this.#held.size > 0) await endedWithin(abortGraceMs, this.#giveBack());
  }

  connectionLost(): void {
    this.#end(new Error('the connection to Redis was lost'));
  }

  #isTaking(): boolean {
    return !this.#ending.signal.aborted;
  }

  /** What this consumer had not acknowledged, in order, and then what is new. */
  async #read(): Promise<void> {
    let after = '0';
    while (this.#isTaking()) {
      const isOwn = after !== '>';
      const room = Math.min(await this.#queue.room(), countMax);
      if (room === 0) return;
      const entries = await this.#readAfter(after, room);
      for (const entry of entries) await this.#take(entry);
      if (!isOwn) continue;
      after = entries.at(-1)?.id ?? '>';
      if (entries.length === 0) await this.#keepUp();
    }
  }

  async #readAfter(after: string, count: number): Promise<readonly StreamEntry[]> {
    const { group, consumer, stream } = this.#options;
    const wait = after === '>' ? ['BLOCK', String(this.#limits.blockMs)] : [];
    const asked = ['GROUP', group, consumer, 'COUNT', String(count), ...wait, 'STREAMS', stream, after];
    return entriesRead(await this.#reader.send('XREADGROUP', ...asked));
  }

  async #take(entry: StreamEntry): Promise<void> {
    const { id } = entry;
    if (this.#held.has(id)) return;
    // Trimmed or deleted while it was pending: there is nothing left to handle.
    if (entry.fields === undefined) return this.#acknowledge(id);
    this.#held.add(id);
    while (this.#isTaking() && this.#queue.free < 1) await this.#queue.room();
    if (this.#isTaking()) this.#queue.push({ id, message: this.#print(entry) });
  }

  async #handle({ id, message }: Item, signal: AbortSignal): Promise<void> {
    const { handle, onTrouble = logTrouble } = this.#options;
    const isHandled = await untilHandled(handle, message, {
      signal,
      stopping: this.#ending.signal,
      isWanted: () => true,
      tell: onTrouble,
    });
    if (!isHandled) return;
    try {
      await this.#acknowledge(id);
    } catch (error) {
      // It comes again, and is recognised as a repeat.
      this.#end(asError(error));
    }
  }

  async #acknowledge(id: string): Promise<void> {
    const { stream, group } = this.#options;
    await this.#commands.send('XACK', stream, group, id);
    this.#held.delete(id);
  }

  /** Says that what is held is at work, and takes over what others let lie. */
  async #keepUp(): Promise<void> {
    if (this.#isKeepingUp) return;
    this.#isKeepingUp = true;
    try {
      await this.#touch(0);
      let next = '0-0';
      do {
        const claimed = entriesClaimed(await this.#claim(next));
        for (const entry of claimed.entries) await this.#take(entry);
        ({ next } = claimed);
      } while (next !== '0-0' && this.#isTaking() && this.#queue.free > 0);
    } catch (error) {
      this.#end(asError(error));
    }
    this.#isKeepingUp = false;
  }

  async #claim(start: string): Promise<unknown> {
    const { stream, group, consumer } = this.#options;
    const count = Math.min(this.#queue.free, countMax);
    if (count < 1) return undefined;
    const { claimIdleMs } = this.#limits;
    return this.#commands.send(
      'XAUTOCLAIM',
      stream,
      group,
      consumer,
      String(claimIdleMs),
      start,
      'COUNT',
      String(count),
    );
  }

  /** What is held and was not handled may be taken over at once. */
  #giveBack(): Promise<void> {
    return this.#touch(this.#limits.claimIdleMs);
  }

  /** As if what is held had been read so long ago. It does not count as a delivery. */
  async #touch(idleMs: number): Promise<void> {
    const { stream, group, consumer } = this.#options;
    if (this.#held.size === 0) return;
    const ids = [...this.#held];
    await this.#commands.send(
      'XCLAIM',
      stream,
      group,
      consumer,
      '0',
      ...ids,
      'IDLE',
      String(idleMs),
      'JUSTID',
    );
  }

  /** Nothing begins any more, and nothing is tried again: it is read once more, in order. */
  #end(why: Error): void {
    this.#ending.abort();
    this.#queue.withdraw(() => true);
    this.#isOver(why);
  }

  #print(entry: StreamEntry): IncomingMessage {
    const { stream, identify } = this.#options;
    let payload: string | undefined;
    const headers: Record<string, string> = {};
    for (const [name, value] of entry.fields ?? []) {
      if (name === 'payload') payload ??= value;
      else headers[name.toLowerCase()] = value;
    }
    const ref = `${stream}@${entry.id}`;
    return readIncoming(
      headerStyles.redis,
      { payload: payload ?? '', headers, own: {}, source: stream, ref },
      { told: toldBy(identify, entry), fallbackId: () => ref },
    );
  }
}

function logTrouble(trouble: Error): void {
  console.error('settle: a consumer of Redis:', trouble);
}
