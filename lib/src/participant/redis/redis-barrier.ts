import { parseGid } from '../../core/ids.ts';
import { producerBranch } from '../../core/message-plan.ts';
import { Refused } from '../../define/answers.ts';
import { messageOf, SettleError } from '../../util/errors.ts';
import type { Json } from '../../util/json.ts';
import { parseAnswer, resultOrRefusal, type Answer } from '../answer.ts';
import type { BarrierCall } from '../barrier.ts';
import { tellAnswer } from '../kept-answers.ts';
import type { RedisClient, RedisValue } from './client.ts';
import { hashTagOf } from './hash-tag.ts';
import { redisScript, type RedisScript } from './script.ts';

export interface RedisBarrier {
  /**
   * Runs a script for this call at most once, with the rows of the barrier in the same step, and gives back its result; a
   * repeat gets the same result without running it.
   *
   * Rejects with `Refused` (kept), with an error of the script (nothing is left), with `barrier_conflict`, also for a script
   * that had written when it failed (what it wrote stays, and so does the conflict), with `config_invalid` for keys without
   * the tag, or with `unavailable` when Redis did not answer: then it may have happened, and the call should come again.
   */
  run(call: BarrierCall, script: RedisScript, work?: RedisWork): Promise<Json | undefined>;
  /**
   * The local transaction of a message's producer: what the script writes is written together with the mark that the
   * check-back looks for. Once a check-back has found no mark, this rejects with `Refused`, and nothing is written.
   */
  prepare(gid: string, script: RedisScript, work?: RedisWork): Promise<Json | undefined>;
  /** The answer to a check-back: fulfils when the producer's script has run, else rejects with `Refused`. */
  check(call: BarrierCall, place?: Pick<RedisWork, 'tag'>): Promise<undefined>;
}

export interface RedisWork {
  /** The script's `KEYS`. Default: none. */
  readonly keys?: readonly string[];
  /** The script's `ARGV`. Default: none. */
  readonly args?: readonly RedisValue[];
  /**
   * For a cluster, the hash tag of all keys: `tea` for `{tea}:stock`. The rows of the branch are kept under it, so it has to
   * be the same for every operation of the branch. Default: none; then keys may be any, and Redis no cluster.
   */
  readonly tag?: string;
}

export interface RedisBarrierOptions {
  /**
   * Milliseconds that the rows of a branch are kept after its last call that changed them. Default 604,800,000 (7 days).
   *
   * It has to be longer than a transaction may live: a call that comes after its row has gone takes effect again, and an
   * action after its undo is no longer turned away.
   */
  readonly ttlMs?: number;
  /**
   * `synced`: Redis has each write on stable storage before it answers (`appendonly yes`, `appendfsync always`) and is never
   * replaced by a replica that lacks it. Only then may the coordinator be told that answers are kept (`settle-barrier:
   * stored`). Default `unsynced`: calls and answers are the same, and the coordinator relies on less.
   */
  readonly durability?: 'synced' | 'unsynced';
}

export const ttlMsDefault = 604_800_000;

/**
 * A barrier in Redis, over a client of ioredis or of its shape. Redis has no transaction that code could take part in:
 * the work is a Lua script, and the barrier around it runs in the same step.
 *
 * Guarantees what the other barriers do, as long as Redis keeps what it has: set `maxmemory-policy noeviction`, and mind
 * that a crash may cost the last second of writes (`appendfsync everysec`), a failover those not replicated yet. Effect and
 * row are lost together. Throws `config_invalid` for a `ttlMs` that is no whole number from 1 on.
 *
 * ```ts
 * const guard = redisBarrier(new Redis());
 * const reserve = handler((call) => guard.run(call, take, { keys: ['stock:tea'], args: [2] }));
 * ```
 */
export function redisBarrier(client: RedisClient, options: RedisBarrierOptions = {}): RedisBarrier {
  const { ttlMs = ttlMsDefault, durability = 'unsynced' } = options;
  if (!Number.isSafeInteger(ttlMs) || ttlMs < 1) {
    throw new SettleError('config_invalid', `ttlMs is ${ttlMs}`, {
      next: 'Give milliseconds, more than a transaction may live',
    });
  }

  /** `asked` is the object the handler knows; the key may be another. */
  async function run(
    asked: object,
    key: BarrierCall,
    script: RedisScript,
    work: RedisWork,
  ): Promise<Json | undefined> {
    const keys = [rowsKey(key, work.tag), ...taggedKeys(work)];
    const reply = await evaluate(client, script, keys, [key.op, ttlMs, ...(work.args ?? [])]);
    const answer = answerIn(reply, key);
    return durability === 'synced' ? tellAnswer(asked, answer) : resultOrRefusal(answer);
  }

  return {
    run: (call, script, work = {}) => run(call, call, script, work),
    prepare: async (gid, script, work = {}) => {
      const key = { gid: parseGid(gid), branch: producerBranch, op: 'action' } as const;
      return run(key, key, script, work);
    },
    check: async (call, place = {}) => {
      await run(call, { ...call, op: 'check' }, nothing, place);
      return undefined;
    },
  };
}

const nothing = redisScript('');

function rowsKey({ gid, branch }: BarrierCall, tag: string | undefined): string {
  return tag === undefined ? `settle:barrier:${gid}:${branch}` : `settle:barrier:{${tag}}:${gid}:${branch}`;
}

function taggedKeys({ keys = [], tag }: RedisWork): readonly string[] {
  if (tag === undefined) return keys;
  if (tag === '' || /[{}]/.test(tag)) {
    throw new SettleError('config_invalid', `${JSON.stringify(tag)} is no hash tag`, {
      next: 'Give what stands between the braces of the keys',
    });
  }
  const stray = keys.find((key) => hashTagOf(key) !== tag);
  if (stray === undefined) return keys;
  throw new SettleError('config_invalid', `the key ${stray} has not the hash tag {${tag}}`, {
    next: 'Give all keys of a branch one tag: only then are they in one place of a cluster',
  });
}

async function evaluate(
  client: RedisClient,
  { text, sha1 }: RedisScript,
  keys: readonly string[],
  values: readonly RedisValue[],
): Promise<unknown> {
  try {
    return await client.evalsha(sha1, keys.length, ...keys, ...values).catch((error: unknown) => {
      // Scripts are forgotten with every restart.
      if (messageOf(error).startsWith('NOSCRIPT')) return client.eval(text, keys.length, ...keys, ...values);
      throw error;
    });
  } catch (cause) {
    throw new SettleError('unavailable', `the barrier: Redis failed: ${messageOf(cause)}`, {
      next: messageOf(cause).startsWith('CROSSSLOT')
        ? 'In a cluster, give the tag that all keys have'
        : 'It is asked again, and answered from its row if it has happened',
      retryAfterMs: 1_000,
      cause,
    });
  }
}

function answerIn(reply: unknown, { gid, branch }: BarrierCall): Answer {
  const [kind, text] = Array.isArray(reply) ? (reply as readonly unknown[]) : [];
  if (typeof text === 'string') {
    switch (kind) {
      case 'answer':
        return parseAnswer(text);
      case 'unrefusable':
        // Not kept: what follows a decision has to be done in the end.
        throw new Refused(text);
      case 'failed':
        throw new Error(`the script failed: ${text}`);
      case 'conflict':
        throw new SettleError('barrier_conflict', `branch ${branch} of ${gid} ${text}`, {
          gid,
          next: `Look at the hash settle:barrier: of this gid, and at the history of the transaction`,
        });
      default:
    }
  }
  throw new SettleError('barrier_conflict', `branch ${branch} of ${gid} has an answer that cannot be read`, {
    gid,
    next: 'Is there something between the barrier and Redis that changes replies?',
  });
}
