/**
 * The inbox in Redis, for work whose effects are elsewhere: there is no transaction that both could be part of. So it holds a
 * lease on the message while the work goes on, and writes down that it is done afterwards.
 *
 * - R1 While a lease holds, no other one works on the message. It is prolonged as long as the work goes on and Redis answers.
 * - R2 What is done is not begun again, as long as Redis keeps what it has.
 * - R3 Between the end of the work and the note of it, a crash makes the work happen again.
 */
import { systemClock, timerMsMax, type Clock } from '../../local/clock.ts';
import { checkMs } from '../../local/options.ts';
import { SettleError } from '../../util/errors.ts';
import { redisCommands, type RedisCommands, type RedisStreamClient } from '../../util/redis-commands.ts';
import type { InboxDeadLetters } from '../dead-letters.ts';
import { redeliveryWindowMsDefault, type Once } from '../inbox.ts';
import { storedResult, type KeptResult } from '../kept-result.ts';
import { messageKey, type MessageKey } from '../message-key.ts';
import { redisDeadLetters } from './dead-letters.ts';
import { runScript } from './run-script.ts';
import { extend, finish, release, take } from './scripts.ts';

/** What the work on a message holds. */
export interface RedisLease {
  /** Grows each time the message is taken over: whatever refuses a smaller one than it has seen cannot be hurt by a stalled work. */
  readonly token: number;
  /** Aborts when the lease is lost, or the time of the work is up: others may work on the message by then. */
  readonly signal: AbortSignal;
}

export interface RedisOnceOptions {
  /** Milliseconds the work may take. Default 60,000. */
  readonly timeoutMs?: number;
  /** Ends the work as its time does. */
  readonly signal?: AbortSignal;
}

export interface RedisInboxOptions {
  /** Milliseconds that a process may be silent before another one takes its message over. Default 30,000. */
  readonly leaseMs?: number;
  /** Milliseconds within which a message may come again; Redis forgets it after that. Default 604,800,000 (7 days). */
  readonly redeliveryWindowMs?: number;
  /** What keys begin with. Default: `settle:inbox`. */
  readonly prefix?: string;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export interface RedisInbox {
  /**
   * Runs work for this message unless it was done before by this consumer. What it gives back is kept, up to 65,536 bytes of
   * JSON, and given to duplicates.
   *
   * Guarantees, as long as Redis keeps what it has: work that was noted as done is not run again, and of duplicates that come
   * at the same time one works, unless a process is silent for longer than its lease. Does **not** guarantee that the work
   * takes effect once: it runs again when the process dies before the note, when that cannot be written, and when Redis loses
   * it (a crash with `appendfsync everysec`, a failover). Make it bear that; `createInbox` is for effects in a SQL database.
   *
   * Rejects with what the work throws (the message can be taken at once), with `unavailable` while another one works on it or
   * when Redis does not answer, with `lease_lost` when another one has taken it over, with `transaction_timeout` and
   * `transaction_cancelled` (then the message is free when the work has ended, or its lease), with `message_invalid`,
   * `limit_exceeded` and `config_invalid`.
   */
  once<Result extends KeptResult>(
    consumer: string,
    messageId: string,
    work: (lease: RedisLease) => Result | PromiseLike<Result>,
    options?: RedisOnceOptions,
  ): Promise<Once<Result>>;
  /** What consumers could not handle. */
  readonly dead: InboxDeadLetters;
}

export const leaseMsDefault = 30_000;
export const workTimeoutMsDefault = 60_000;
/** Parts of a lease after which it is prolonged, so that two may fail. */
const extendsPerLease = 3;

/**
 * An inbox in Redis, from 5 on, over ioredis or node-redis. Set `maxmemory-policy noeviction`: what Redis evicts comes again.
 *
 * Throws `config_invalid` for times that are none.
 *
 * ```ts
 * const inbox = redisInbox(new Redis());
 * await inbox.once('mailer', message.id, ({ signal }) => send(mail, { idempotencyKey: message.id, signal }));
 * ```
 */
export function redisInbox(client: RedisStreamClient, options: RedisInboxOptions = {}): RedisInbox {
  const { leaseMs = leaseMsDefault, redeliveryWindowMs = redeliveryWindowMsDefault } = options;
  for (const [name, value] of Object.entries({ leaseMs, redeliveryWindowMs })) {
    checkMs(name, value);
    if (!Number.isSafeInteger(value))
      throw new SettleError('config_invalid', `${name} is ${value}, no whole number`);
  }
  if (leaseMs > timerMsMax)
    throw new SettleError('config_invalid', `leaseMs is ${leaseMs}, longer than a timer can be`);
  const commands = redisCommands(client);
  const { prefix = 'settle:inbox', clock = systemClock } = options;
  const leases = new Leases({ commands, prefix, clock, leaseMs, keepMs: redeliveryWindowMs });
  return {
    dead: redisDeadLetters(commands, prefix),
    async once(consumer, messageId, work, { timeoutMs = workTimeoutMsDefault, signal, ...others } = {}) {
      refuseOthers(others);
      checkMs('timeoutMs', timeoutMs);
      const key = messageKey(consumer, messageId);
      const taken = await leases.take(key);
      if (taken.kind === 'done')
        return { duplicate: true, result: taken.result as Awaited<ReturnType<typeof work>> };
      const result = await leases.during(taken, work, { timeoutMs, signal });
      return { duplicate: false, result };
    },
  };
}

/** What a consumer asks for that only transactions have: not to be passed over in silence. */
function refuseOthers(others: object): void {
  const asked = ['mode', 'ifBusy', 'isolation', 'client'].filter((name) => name in others);
  if (asked.length === 0) return;
  throw new SettleError('config_invalid', `an inbox in Redis has no ${asked.join(', ')}`, {
    next: 'Leave it out, or use createInbox() with a SQL database',
  });
}

interface Setup {
  readonly commands: RedisCommands;
  readonly prefix: string;
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly keepMs: number;
}

interface Lease {
  readonly kind: 'yours';
  readonly key: string;
  readonly token: string;
}

type Taken = Lease | { readonly kind: 'done'; readonly result: unknown };

interface Limits {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

class Leases {
  readonly #setup: Setup;

  constructor(setup: Setup) {
    this.#setup = setup;
  }

  async take({ consumer, messageId }: MessageKey): Promise<Taken> {
    const { prefix, leaseMs, keepMs } = this.#setup;
    const key = `${prefix}:message:${consumer}:${messageId}`;
    const [kind, text] = pairOf(await this.#run(take, key, String(leaseMs), String(keepMs)));
    switch (kind) {
      case 'done':
        return { kind, result: text === undefined ? undefined : JSON.parse(text) };
      case 'yours':
        return { kind, key, token: text ?? '' };
      default:
        throw new SettleError('unavailable', `the message ${messageId} is being handled by ${consumer}`, {
          next: 'It is tried again, and then is a duplicate or taken over',
          retryAfterMs: Math.max(1, Number(text) || 0),
        });
    }
  }

  /** Runs the work while the lease is prolonged, and notes that it is done. */
  async during<T extends KeptResult>(
    lease: Lease,
    work: (lease: RedisLease) => T | PromiseLike<T>,
    limits: Limits,
  ): Promise<T> {
    const ending = new AbortController();
    const stopProlonging = this.#prolong(lease, ending);
    const working = this.#work(lease, work, ending.signal);
    try {
      const result = await this.#unlessEnded(working, ending, limits);
      const stored = storedResult(result);
      // R3
      await this.#finish(lease, stored);
      stopProlonging();
      return result;
    } catch (error) {
      const freed = this.#freeAfter(working, lease, stopProlonging);
      // What goes on all the same must not meet another one: until it ends, the lease does not.
      if (!ending.signal.aborted) await freed;
      throw error;
    }
  }

  /** Never rejects: a lease that cannot be given back runs out. */
  async #freeAfter(
    working: Promise<unknown>,
    { key, token }: Lease,
    stopProlonging: () => void,
  ): Promise<void> {
    // Its caller is told; here only its end counts.
    await working.catch(() => {});
    stopProlonging();
    // What is not given back runs out.
    await this.#run(release, key, token).catch(() => {});
  }

  async #work<T>(
    { token }: Lease,
    work: (lease: RedisLease) => T | PromiseLike<T>,
    signal: AbortSignal,
  ): Promise<T> {
    return await work({ token: Number(token), signal });
  }

  async #finish({ key, token }: Lease, stored: string | undefined): Promise<void> {
    const values = [token, String(this.#setup.keepMs), ...(stored === undefined ? [] : [stored])];
    if ((await this.#run(finish, key, ...values)) !== 1) throw lost();
  }

  /** R1. Returns what ends it. */
  #prolong({ key, token }: Lease, ending: AbortController): () => void {
    const { clock, leaseMs } = this.#setup;
    let isOver = false;
    let forget: () => void;
    let heldUntilMs = clock.now() + leaseMs;
    const next = (): void => {
      forget = clock.schedule(Math.ceil(leaseMs / extendsPerLease), () => void again());
    };
    const again = async (): Promise<void> => {
      const askedAtMs = clock.now();
      // No answer is no prolongation: it is asked again until the lease has run out, which ends the work.
      const answer = await this.#run(extend, key, token, String(leaseMs)).catch(() => undefined);
      if (isOver) return;
      if (answer === 1) heldUntilMs = askedAtMs + leaseMs;
      if (answer === 0 || clock.now() >= heldUntilMs) return ending.abort(lost());
      next();
    };
    next();
    return () => {
      isOver = true;
      forget();
    };
  }

  /** Rejects when the time is up, the signal aborts, or the lease is lost, whether the work goes on or not. */
  async #unlessEnded<T>(
    working: Promise<T>,
    ending: AbortController,
    { timeoutMs, signal }: Limits,
  ): Promise<T> {
    const ended = Promise.withResolvers<never>();
    ending.signal.addEventListener('abort', () => ended.reject(ending.signal.reason as Error), {
      once: true,
    });
    const late = () =>
      new SettleError('transaction_timeout', `the work on a message took longer than ${timeoutMs} ms`);
    const forget = this.#setup.clock.schedule(timeoutMs, () => ending.abort(late()));
    const cancel = (): void =>
      ending.abort(new SettleError('transaction_cancelled', 'the work on a message was cancelled'));
    if (signal?.aborted === true) cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await Promise.race([working, ended.promise]);
    } finally {
      forget();
      signal?.removeEventListener('abort', cancel);
    }
  }

  #run(script: string, key: string, ...values: readonly string[]): Promise<unknown> {
    return runScript(this.#setup.commands, script, [key], values);
  }
}

function lost(): SettleError {
  return new SettleError('lease_lost', 'another one has taken the message over', {
    next: 'Whoever has it handles it; what this one did may have happened twice. Raise leaseMs if processes stall for long',
  });
}

function pairOf(reply: unknown): readonly [kind: unknown, text: string | undefined] {
  const [kind, text] = Array.isArray(reply) ? (reply as readonly unknown[]) : [];
  return [kind, typeof text === 'string' ? text : undefined];
}
