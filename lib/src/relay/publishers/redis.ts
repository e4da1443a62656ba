/** `settle/relay/redis`: publishes to Redis Streams, over ioredis or node-redis. */
import { headerStyles } from '../../outbox/broker-headers.ts';
import { messageOf, SettleError } from '../../util/errors.ts';
import {
  redisCommands,
  type RedisCommands,
  type RedisStreamClient,
  replyCodeOf,
} from '../../util/redis-commands.ts';
import type { OutgoingMessage, Publisher, PublishResult } from '../publisher.ts';
import { envelope, type EnvelopeOptions } from './envelope.ts';
import { appendScript } from './redis-script.ts';
import { untilAbort } from './until-abort.ts';

export type { IoredisClient, NodeRedisClient, RedisStreamClient } from '../../util/redis-commands.ts';

export interface RedisPublisherOptions extends EnvelopeOptions {
  /** What destinations begin with. Default: `redis`. */
  readonly name?: string;
  /** Best one of its own: `wait` holds up whatever else is sent on it. */
  readonly client: RedisStreamClient;
  /**
   * Trims each stream to about so many entries (`MAXLEN ~`), **read or not**: a consumer that is further behind loses them.
   * Default: streams grow.
   */
  readonly maxLength?: number;
  /**
   * Lets Redis drop repeats (`XADD … IDMP`): needs Redis 8.6. It remembers 100 messages of a producer for 100 seconds, until
   * you tell it otherwise by `XCFGSET stream IDMP-DURATION … IDMP-MAXSIZE …`. Not tried against such a server by our tests.
   * Default: no.
   */
  readonly idempotent?: {
    /** Names who publishes, the same for all relays of one outbox. */
    readonly producer: string;
  };
  /**
   * Waits until so many replicas have the messages (`WAIT`) before it calls them published. While they do not, the
   * destination counts as `unavailable`, and what was added meanwhile is added again. Not with a cluster. Default: no.
   */
  readonly wait?: { readonly replicas: number; readonly timeoutMs: number };
  /** Bytes of a payload; a larger one is poison. Default 16,777,216. */
  readonly payloadBytesMax?: number;
}

/** The field of an entry that holds the payload. */
export const payloadField = 'payload';

const payloadBytesMaxDefault = 16_777_216;

/** Of what goes into one call of the script: Redis cuts off who sends 1 GB at once, and serves nobody else meanwhile. */
const callBytesMax = 33_554_432;

/**
 * Publishes to Redis Streams: the address is the stream's key, the entry has the fields `payload`, `settle-id`,
 * `settle-type`, `settle-version`, `settle-key`, `content-type` and one for each header.
 *
 * Messages of one stream are added in one step, up to the first that Redis refuses. **Published is what Redis has, as durably as
 * Redis is set up:** with `appendonly yes` and `appendfsync always` it is on disk, with `everysec` a crash of the machine costs
 * about the last second, without `appendonly` all since the last snapshot; and a failover costs what the new primary had not
 * yet, which `wait` makes rare and cannot rule out.
 *
 * Throws `config_invalid` for limits that are none.
 */
export function redisPublisher(options: RedisPublisherOptions): Publisher {
  const { name = 'redis', maxLength, idempotent, wait, payloadBytesMax = payloadBytesMaxDefault } = options;
  for (const [option, value] of Object.entries({ maxLength, payloadBytesMax, ...wait })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1)) {
      throw new SettleError('config_invalid', `${option} is ${value}, not a whole number from 1 on`);
    }
  }
  const commands = redisCommands(options.client);
  const fieldsOf = envelope(headerStyles.redis, options);
  const trim = maxLength === undefined ? [] : ['MAXLEN', '~', String(maxLength)];

  function entryOf(message: OutgoingMessage): readonly string[] {
    const { id, payload } = message;
    const fields = Object.entries(fieldsOf(message)).flat();
    const repeat = idempotent === undefined ? [] : ['IDMP', idempotent.producer, id];
    return [...repeat, ...trim, '*', payloadField, payload, ...fields];
  }

  function whyPoison({ payload, headers }: OutgoingMessage): string | undefined {
    const bytes = Buffer.byteLength(payload);
    if (bytes > payloadBytesMax)
      return `its ${bytes} bytes are more than payloadBytesMax, ${payloadBytesMax}`;
    return payloadField in headers
      ? 'it has a header of the name payload, which is a field of ours'
      : undefined;
  }

  /** Those of one stream, in order. */
  async function publishTo(
    stream: string,
    messages: readonly OutgoingMessage[],
    signal: AbortSignal,
  ): Promise<readonly PublishResult[]> {
    const results: PublishResult[] = [];
    for (const call of callsOf(messages.map(entryOf))) {
      if (!commands.isReady()) return fill(results, messages, unavailable('Redis is not connected'));
      if (signal.aborted) return fill(results, messages, unavailable('publishing was stopped'));
      const appended = await untilAbort(append(commands, stream, call), signal, tooLate);
      results.push(...appended.ids.map((id) => ({ kind: 'published', ref: `${stream}@${id}` }) as const));
      if (appended.fault !== undefined) return fill(results, messages, appended.fault);
    }
    return results;
  }

  return {
    name,
    order: 'stops-at-failure',
    async publish(batch, signal) {
      const results = new Map<OutgoingMessage, PublishResult>();
      const byStream = Map.groupBy(withoutPoison(batch, results), ({ address }) => address);
      const publishing = [...byStream].map(async ([stream, messages]) => {
        const published = await publishTo(stream, messages, signal);
        messages.forEach((message, index) => results.set(message, published[index] ?? notTried));
      });
      await Promise.all(publishing);
      const late = wait === undefined ? undefined : await whyNotReplicated(commands, wait, signal);
      return batch.map((message) => {
        const result = results.get(message) ?? notTried;
        return result.kind === 'published' && late !== undefined ? late : result;
      });
    },
  };

  /** Those that can be sent; what stands behind a poisonous one of its key stays back. */
  function withoutPoison(
    batch: readonly OutgoingMessage[],
    results: Map<OutgoingMessage, PublishResult>,
  ): readonly OutgoingMessage[] {
    const held = new Map<string, Set<string | undefined>>();
    return batch.filter((message) => {
      const { address, key } = message;
      const reason = whyPoison(message);
      const isBehind = key !== undefined && held.get(address)?.has(key) === true;
      if (reason === undefined && !isBehind) return true;
      held.set(address, (held.get(address) ?? new Set()).add(key));
      results.set(message, reason === undefined ? behindFailure : { kind: 'poison', reason });
      return false;
    });
  }
}

interface Appended {
  readonly ids: readonly string[];
  /** Of all that are not in `ids`. */
  readonly fault?: PublishResult;
}

const tooLate: Appended = { ids: [], fault: { kind: 'unknown', reason: 'Redis did not answer in time' } };
const notTried = unavailable('publishing was stopped');
const behindFailure: PublishResult = { kind: 'retriable', reason: 'a message of its key before it failed' };

async function append(commands: RedisCommands, stream: string, args: readonly string[]): Promise<Appended> {
  try {
    const reply = await commands
      .send('EVALSHA', appendScript.sha1, '1', stream, ...args)
      .catch((error: unknown) => {
        // Scripts are forgotten with every restart.
        if (replyCodeOf(messageOf(error)) !== 'NOSCRIPT') throw error;
        return commands.send('EVAL', appendScript.text, '1', stream, ...args);
      });
    const [ids, fault] = reply as readonly [ids: readonly string[], fault?: string];
    return fault === undefined ? { ids } : { ids, fault: faultOf(fault) };
  } catch (error) {
    return { ids: [], fault: faultOf(messageOf(error)) };
  }
}

/** Undefined when enough replicas have all that was sent before on this connection. */
async function whyNotReplicated(
  commands: RedisCommands,
  { replicas, timeoutMs }: { readonly replicas: number; readonly timeoutMs: number },
  signal: AbortSignal,
): Promise<PublishResult | undefined> {
  try {
    const waited = commands.send('WAIT', String(replicas), String(timeoutMs));
    const count = Number(await untilAbort(waited, signal, 0));
    return count >= replicas
      ? undefined
      : unavailable(`only ${count} of ${replicas} replicas have it so far`);
  } catch (error) {
    return { kind: 'unknown', reason: `WAIT failed: ${messageOf(error)}` };
  }
}

/** The arguments of the calls: as many entries in each as its size allows. */
function callsOf(entries: readonly (readonly string[])[]): readonly (readonly string[])[] {
  const calls: string[][] = [];
  let room = 0;
  for (const entry of entries) {
    const bytes = entry.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    if (bytes > room) {
      calls.push([]);
      room = callBytesMax;
    }
    calls.at(-1)?.push(String(entry.length), ...entry);
    room -= bytes;
  }
  return calls;
}

function fill(
  results: readonly PublishResult[],
  messages: readonly unknown[],
  rest: PublishResult,
): readonly PublishResult[] {
  return messages.map((_, index) => results[index] ?? rest);
}

/** What Redis answers when it takes nothing at all, or not here. The rest is about this stream. */
const codesOfServer: ReadonlySet<string> = new Set([
  'OOM',
  'READONLY',
  'LOADING',
  'BUSY',
  'MISCONF',
  'MASTERDOWN',
  'NOREPLICAS',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'MOVED',
  'ASK',
  'CROSSSLOT',
  'NOAUTH',
  'WRONGPASS',
]);

function faultOf(text: string): PublishResult {
  const code = replyCodeOf(text);
  const reason = `Redis: ${text}`;
  if (code === undefined) return { kind: 'unknown', reason };
  if (codesOfServer.has(code)) return unavailable(reason);
  // What a Redis before 8.6 makes of IDMP.
  if (text.includes('Invalid stream ID'))
    return unavailable('this Redis does not know IDMP: it is older than 8.6');
  return { kind: 'retriable', reason };
}

function unavailable(reason: string): PublishResult {
  return { kind: 'unavailable', reason };
}
