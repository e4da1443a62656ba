/**
 * What becomes of a message that a broker delivered: the core of all consumers, which fetch, keep order and acknowledge.
 *
 * - H1 `handled` is said only after the transaction of the work is committed, `dead` after the dead letter is.
 * - H2 A message dies of its own failures alone. While the database is away, it stays with its broker.
 * - H3 All attempts at a message are made here, one after the other, while whoever called keeps its key: nothing overtakes it.
 * - H4 Never rejects, and ends soon after the signal aborts.
 */
import {
  deadLimitMax,
  type DeadCause,
  type InboxDeadLetter,
  type InboxDeadLetters,
} from '../inbox/dead-letters.ts';
import type { Once, OnceOptions } from '../inbox/inbox.ts';
import { consumerName, messageIdBytesMax, whyNoId } from '../inbox/message-key.ts';
import { systemClock, timerMsMax, type Clock } from '../local/clock.ts';
import type { Messages } from '../outbox/define-messages.ts';
import { messageOf, SettleError } from '../util/errors.ts';
import type { Position } from '../inbox/positions.ts';
import { isJsonObject } from '../util/json.ts';
import { onAbort } from '../util/on-abort.ts';
import type { ConsumerEvent } from './events.ts';
import { attemptFailure, type Failed } from './failure.ts';
import { findHandler, type Found, type Handler, type Handlers } from './handlers.ts';
import type { Handled, HandleMessage, IncomingMessage } from './incoming.ts';
import { positionAfter } from './offsets.ts';
import { readEnvelope } from './read-envelope.ts';

/** What a consumer needs of an inbox: `createInbox` and `redisInbox` give it. */
export interface ConsumerInbox<Context> {
  once(
    consumer: string,
    messageId: string,
    work: (context: Context) => PromiseLike<undefined>,
    options: OnceSettings & {
      readonly timeoutMs: number;
      readonly signal: AbortSignal;
      readonly propagation: 'requiresNew';
    },
  ): Promise<Once<undefined>>;
  readonly dead: InboxDeadLetters;
  /** Absent where positions cannot be stored with the work. */
  readonly positions?: { save(tx: Context, position: Position): Promise<void> };
}

type OnceSettings = Pick<OnceOptions<unknown>, 'mode' | 'ifBusy' | 'isolation'>;

export interface ConsumerRetryOptions {
  /** Attempts at a message in one delivery, from 1 to 100. Default 5. */
  readonly attemptsMax?: number;
  /** Milliseconds before the second attempt, at most (full jitter); doubles each time. Default 200. */
  readonly baseMs?: number;
  /** Milliseconds no pause is longer than, unless an error asks for more. Default 10,000. */
  readonly maxMs?: number;
}

export interface ConsumerOptions<Context, M extends Messages> extends OnceSettings {
  /** By it the inbox tells consumers apart: 1 to 64 letters, digits and any of `_ . : / -`. Under another one it is new. */
  readonly name: string;
  readonly inbox: ConsumerInbox<Context>;
  /** What the sender gave its outbox: payloads are checked, and typed. Default: any JSON. */
  readonly messages?: M;
  /** By type. A type that is in `messages` and has no handler is skipped. */
  readonly handlers?: Handlers<M, Context>;
  /** For types without a handler. Default: none. */
  readonly handle?: Handler<unknown, Context>;
  readonly retry?: ConsumerRetryOptions;
  /**
   * What becomes of a type that this program does not know, or of a newer version of one: `retry` (default) leaves it with the
   * broker after a pause of `retry.maxMs`, so that the newer program of a rolling upgrade gets it; `skip`; or `dead`.
   */
  readonly unknownType?: 'retry' | 'skip' | 'dead';
  /**
   * Whether the transaction of each message stores the position behind it, for `positions` of the consumers of Kafka. Costs a
   * statement. Default: false.
   */
  readonly storePositions?: boolean;
  /** Milliseconds for one attempt. Default 30,000. */
  readonly timeoutMs?: number;
  /** Told of each dead letter, once it is kept. */
  readonly onDead?: (
    message: IncomingMessage,
    letter: { readonly cause: DeadCause; readonly reason: string },
  ) => unknown;
  /** Told of everything, for metrics and logs. Must not throw. */
  readonly onEvent?: (event: ConsumerEvent) => void;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Numbers from 0 to 1, for pauses. Default: `Math.random`. */
  readonly random?: () => number;
}

export interface ReplayQuery {
  readonly messageIds?: readonly string[];
  readonly cause?: DeadCause;
  readonly diedBeforeMs?: number;
}

export interface Replayed {
  /** Now, or at a delivery since; they are dead no more. */
  readonly handled: number;
  /** They failed again, and stay. */
  readonly dead: number;
  /** Stopped before their turn or by the signal, or the database was away; they stay. */
  readonly left: number;
}

export interface Consumer {
  /** For the consumers of brokers: `settle/consumer/kafka` and its like. */
  readonly handle: HandleMessage;
  /**
   * Handles dead letters of this consumer again, oldest first, at most `limit` (1 to 1,000, default 100), each with all its
   * attempts; those that are handled are dead no more.
   */
  replayDead(
    query?: ReplayQuery,
    options?: { readonly limit?: number; readonly signal?: AbortSignal },
  ): Promise<Replayed>;
}

export const attemptsMaxDefault = 5;
export const attemptsLimit = 100;
export const retryBaseMsDefault = 200;
export const retryMaxMsDefault = 10_000;
export const handlerTimeoutMsDefault = 30_000;
export const replayLimitDefault = 100;

/**
 * A consumer: what is done about messages, apart from the broker they come from. The work of each runs in a transaction of the
 * inbox, at most once to its end; it is tried again when it throws, and kept as a dead letter when it has failed
 * `retry.attemptsMax` times, throws `Refused`, or is not what its type has to be.
 *
 * A handler writes through `tx` (or the ambient client); what it does elsewhere may happen again. Throw `Refused` for what will
 * never succeed, `Ongoing(retryAfterMs)` for what is not ready.
 *
 * All attempts and pauses of one delivery should take less time than its broker waits for an acknowledgement.
 *
 * Throws `config_invalid` for options that cannot be.
 *
 * ```ts
 * const stock = createConsumer({
 *   name: 'stock',
 *   inbox: createInbox(tx),
 *   messages,
 *   handlers: { 'order.placed': (order, { tx: t }) => t.client.query('update stock set ...', [order.sku]) },
 * });
 * const running = consumeRabbit({ connection, queue: 'stock', handle: stock.handle });
 * ```
 */
export function createConsumer<Context, M extends Messages = Messages>(
  options: ConsumerOptions<Context, M>,
): Consumer {
  const core = new ConsumerCore(options);
  return {
    handle: (message, signal) => core.handle(message, signal),
    replayDead: (query, replayOptions) => core.replayDead(query, replayOptions),
  };
}

class ConsumerCore<Context, M extends Messages> {
  readonly #options: ConsumerOptions<Context, M>;
  readonly #attemptsMax: number;
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #random: () => number;

  constructor(options: ConsumerOptions<Context, M>) {
    const {
      retry = {},
      timeoutMs = handlerTimeoutMsDefault,
      clock = systemClock,
      random = Math.random,
    } = options;
    const {
      attemptsMax = attemptsMaxDefault,
      baseMs = retryBaseMsDefault,
      maxMs = retryMaxMsDefault,
    } = retry;
    consumerName(options.name);
    checkRange('retry.attemptsMax', attemptsMax, attemptsLimit);
    checkRange('retry.baseMs', baseMs, timerMsMax);
    checkRange('retry.maxMs', maxMs, timerMsMax);
    checkRange('timeoutMs', timeoutMs, timerMsMax);
    if (options.storePositions === true && options.inbox.positions === undefined) {
      throw invalid('storePositions needs an inbox in a SQL database');
    }
    if (options.handlers === undefined && options.handle === undefined) throw invalid('there is no handler');
    for (const type of Object.keys(options.handlers ?? {})) {
      if (options.messages === undefined || Object.hasOwn(options.messages, type)) continue;
      throw invalid(`handlers has ${type}, which is not among the messages`);
    }
    this.#options = options;
    this.#attemptsMax = attemptsMax;
    this.#baseMs = baseMs;
    this.#maxMs = maxMs;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#random = random;
  }

  /** H4 */
  async handle(message: IncomingMessage, signal: AbortSignal): Promise<Handled> {
    try {
      return await this.#handle(message, signal);
    } catch (error) {
      return this.#notHandled(message, messageOf(error));
    }
  }

  async replayDead(
    query: ReplayQuery = {},
    {
      limit = replayLimitDefault,
      signal = new AbortController().signal,
    }: { limit?: number; signal?: AbortSignal } = {},
  ): Promise<Replayed> {
    checkRange('limit', limit, deadLimitMax);
    const { name: consumer, inbox } = this.#options;
    const { items } = await inbox.dead.list({ ...query, consumer }, { limit });
    const counts = { handled: 0, dead: 0, left: 0 };
    for (const letter of items) {
      if (signal.aborted) counts.left++;
      else counts[await this.#replay(letter, signal)]++;
    }
    return counts;
  }

  async #replay(letter: InboxDeadLetter, signal: AbortSignal): Promise<keyof Replayed> {
    const handled = await this.handle(storedMessage(letter), signal);
    if (handled.kind === 'not-handled') return 'left';
    if (handled.kind === 'dead') return 'dead';
    const { consumer, messageId, diedAtMs } = letter;
    // One that has died again since is another one.
    await this.#options.inbox.dead.purge({ consumer, messageIds: [messageId], diedBeforeMs: diedAtMs + 1 });
    return 'handled';
  }

  async #handle(came: IncomingMessage, signal: AbortSignal): Promise<Handled> {
    let message: IncomingMessage;
    try {
      message = readEnvelope(came);
    } catch (error) {
      return await this.#die(came, { cause: 'invalid', reason: messageOf(error), attempts: 0 }, signal);
    }
    const why = whyNoId(message.id);
    if (why !== undefined) {
      return await this.#die(came, { cause: 'invalid', reason: `the id ${why}`, attempts: 0 }, signal);
    }
    const { messages, handlers = {}, handle } = this.#options;
    const found = await findHandler<Context>({ messages, handlers, handle }, message);
    switch (found.kind) {
      case 'handler':
        return await this.#attempt(message, found, signal);
      case 'nobody':
        return this.#skip(message);
      case 'unknown':
        return await this.#unknown(message, found.reason, signal);
      case 'invalid':
        return await this.#die(message, { cause: 'invalid', reason: found.reason, attempts: 0 }, signal);
    }
  }

  /** H3 */
  async #attempt(message: IncomingMessage, found: Work<Context>, signal: AbortSignal): Promise<Handled> {
    const beganAtMs = this.#clock.now();
    const failures = { message: 0, surroundings: 0 };
    for (let attempt = 1; !signal.aborted; attempt++) {
      const outcome = await this.#try(message, found, attempt, signal);
      if (outcome.kind === 'handled') {
        const durationMs = this.#clock.now() - beganAtMs;
        const { duplicate } = outcome;
        this.#tell({ kind: 'handled', message, duplicate, attempt, durationMs });
        return outcome;
      }
      const { kind, reason, error } = outcome;
      if (kind === 'stopped') break;
      if (kind === 'refused')
        return await this.#die(message, { cause: kind, reason, attempts: attempt }, signal);
      failures[kind]++;
      if (failures.message >= this.#attemptsMax) {
        return await this.#die(message, { cause: 'attempts', reason, attempts: failures.message }, signal);
      }
      // H2
      if (failures.surroundings >= this.#attemptsMax) return this.#notHandled(message, reason);
      const pauseMs = this.#pauseMs(failures.message + failures.surroundings);
      const retryInMs = Math.max(pauseMs, outcome.notBeforeMs);
      this.#tell({ kind: 'failed', message, attempt, error, retryInMs });
      await this.#pause(retryInMs, signal);
    }
    return this.#notHandled(message, 'the consumer is stopping');
  }

  async #try(
    message: IncomingMessage,
    { handler, payload }: Work<Context>,
    attempt: number,
    signal: AbortSignal,
  ): Promise<Outcome> {
    let isWorkDone = false;
    try {
      const { duplicate } = await this.#once(message, signal, async (tx) => {
        isWorkDone = false;
        await handler(payload, { message, tx, attempt, signal });
        await this.#savePosition(message, tx);
        isWorkDone = true;
        return undefined;
      });
      return { kind: 'handled', duplicate };
    } catch (error) {
      // What the handler itself throws may tell of another transaction's commit.
      const failure = attemptFailure(error, isWorkDone);
      if (failure.kind === 'committed') {
        this.#tell({ kind: 'hook-failed', message, error });
        return { kind: 'handled', duplicate: false };
      }
      return signal.aborted ? { ...failure, kind: 'stopped', error } : { ...failure, error };
    }
  }

  #once(
    { id }: IncomingMessage,
    signal: AbortSignal,
    work: (tx: Context) => Promise<undefined>,
  ): Promise<Once<undefined>> {
    const { name, inbox, mode, ifBusy, isolation } = this.#options;
    return inbox.once(name, id, work, {
      ...(mode !== undefined && { mode }),
      ...(ifBusy !== undefined && { ifBusy }),
      ...(isolation !== undefined && { isolation }),
      timeoutMs: this.#timeoutMs,
      signal,
      // Wherever the broker's client was started, its messages are no part of that transaction.
      propagation: 'requiresNew',
    });
  }

  /** What is skipped or dies stores none: the next message does, and until then it comes again at most. */
  async #savePosition(message: IncomingMessage, tx: Context): Promise<void> {
    const { name: consumer, storePositions = false, inbox } = this.#options;
    const position = storePositions ? positionAfter(message) : undefined;
    if (position !== undefined) await inbox.positions?.save(tx, { consumer, ...position });
  }

  async #unknown(message: IncomingMessage, reason: string, signal: AbortSignal): Promise<Handled> {
    const { unknownType = 'retry' } = this.#options;
    if (unknownType === 'skip') return this.#skip(message);
    if (unknownType === 'dead')
      return await this.#die(message, { cause: 'unknown-type', reason, attempts: 0 }, signal);
    // It comes again at once where the broker does not wait by itself.
    await this.#pause(this.#maxMs, signal);
    return this.#notHandled(message, reason);
  }

  /** H1 */
  async #die(
    message: IncomingMessage,
    {
      cause,
      reason,
      attempts,
    }: { readonly cause: DeadCause; readonly reason: string; readonly attempts: number },
    signal: AbortSignal,
  ): Promise<Handled> {
    const { name: consumer, inbox, onDead } = this.#options;
    const letter = {
      consumer,
      messageId: deadIdOf(message),
      message: JSON.stringify(message),
      cause,
      reason,
      attempts,
    };
    for (let attempt = 1; ; attempt++) {
      try {
        await inbox.dead.add(letter);
        break;
      } catch (error) {
        const why = `${reason}; and no dead letter could be kept: ${messageOf(error)}`;
        if (attempt >= this.#attemptsMax || signal.aborted) return this.#notHandled(message, why);
        const retryInMs = this.#pauseMs(attempt);
        this.#tell({ kind: 'failed', message, attempt, error, retryInMs });
        await this.#pause(retryInMs, signal);
      }
    }
    this.#tell({ kind: 'dead', message, cause, reason, attempts });
    await this.#quietly(() => onDead?.(message, { cause, reason }));
    return { kind: 'dead', reason };
  }

  #skip(message: IncomingMessage): Handled {
    this.#tell({ kind: 'skipped', message });
    return { kind: 'handled', duplicate: false };
  }

  #notHandled(message: IncomingMessage, reason: string): Handled {
    this.#tell({ kind: 'not-handled', message, reason });
    return { kind: 'not-handled', reason };
  }

  #tell(event: EventBody): void {
    const { name: consumer, onEvent } = this.#options;
    void this.#quietly(() => onEvent?.({ ...event, consumer }));
  }

  /** Who listens badly must not change what becomes of a message. */
  async #quietly(tell: () => unknown): Promise<void> {
    try {
      await tell();
    } catch (cause) {
      process.emitWarning(
        new SettleError('internal', `a listener of ${this.#options.name} failed: ${messageOf(cause)}`, {
          cause,
        }),
      );
    }
  }

  /** Full jitter (Brooker, "Exponential Backoff And Jitter"). */
  #pauseMs(failures: number): number {
    return Math.ceil(this.#random() * Math.min(this.#maxMs, this.#baseMs * 2 ** (failures - 1)));
  }

  /** Keeps the process alive: somebody waits for the message, and nothing else may be under way. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || ms <= 0) return;
    const alive = setInterval(() => {}, timerMsMax);
    await new Promise<void>((resolve) => {
      const forgetTimer = this.#clock.schedule(Math.min(ms, timerMsMax), () => {
        forgetSignal();
        resolve();
      });
      const forgetSignal = onAbort(signal, () => {
        forgetTimer();
        resolve();
      });
    });
    clearInterval(alive);
  }
}

/** What runs for a message. */
type Work<Context> = Extract<Found<Context>, { readonly kind: 'handler' }>;

/** Of one attempt. `stopped`: it failed, and the consumer is stopping. */
type Outcome =
  | Extract<Handled, { readonly kind: 'handled' }>
  | (Failed<'refused' | 'message' | 'surroundings' | 'stopped'> & { readonly error: unknown });

/** An event without who tells it. */
type EventBody = Without<ConsumerEvent>;
type Without<Event> = Event extends unknown ? Omit<Event, 'consumer'> : never;

/** Under which a dead letter is found: its id, or where it came from when no row can have that id. */
function deadIdOf({ id, ref, source }: IncomingMessage): string {
  if (whyNoId(id) === undefined) return id;
  const place = `ref:${ref === '' ? source : ref}`.replaceAll('\0', ' ').toWellFormed();
  return Buffer.from(place)
    .subarray(0, messageIdBytesMax - 3)
    .toString();
}

/** It was written by `#die`. */
function storedMessage({ messageId, message }: InboxDeadLetter): IncomingMessage {
  const stored: unknown = JSON.parse(message);
  if (isStoredMessage(stored)) return { ...stored, key: stored.key, contentType: stored.contentType };
  throw new SettleError('internal', `the dead letter ${messageId} holds no message`, {
    next: 'Look for what else writes to the table settle_inbox_dead',
  });
}

function isStoredMessage(stored: unknown): stored is IncomingMessage {
  if (!isJsonObject(stored) || !isJsonObject(stored['headers'])) return false;
  const texts = ['id', 'type', 'payload', 'source', 'ref'].map((name) => stored[name]);
  return texts.every((text) => typeof text === 'string') && typeof stored['version'] === 'number';
}

function checkRange(name: string, value: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= max) return;
  throw invalid(`${name} is ${value}, not a whole number from 1 to ${max}`);
}

function invalid(what: string): SettleError {
  return new SettleError('config_invalid', `the consumer: ${what}`, { next: 'Correct the option' });
}
