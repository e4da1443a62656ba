import * as fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { comeOutInSomeOrder } from '../../../../test/barrier/calls-at-once.ts';
import { BarrierModel, type Undoing } from '../../../../test/barrier/model.ts';
import { redisDatabase } from '../../../../test/services/redis.ts';
import { parseBranchName, parseGid } from '../../core/ids.ts';
import { producerBranch } from '../../core/message-plan.ts';
import type { Op } from '../../core/outcome.ts';
import { isRefused } from '../../define/answers.ts';
import type { BarrierCall } from '../barrier.ts';
import { isKept } from '../kept-answers.ts';
import { redisBarrier, redisScript, type RedisBarrier } from './index.ts';

const database = redisDatabase();
let redis: Redis;
let guard: RedisBarrier;

beforeAll(async () => {
  redis = new Redis(database.url, { lazyConnect: true });
  await redis.connect();
  guard = redisBarrier(redis);
});

afterAll(() => redis.quit());

beforeEach(async () => {
  await redis.flushdb();
  await redis.set('stock', 10);
});

function call(op: Op = 'action', branch = 'b'): BarrierCall {
  return { gid: parseGid('g'), branch: parseBranchName(branch), op };
}

function checkOf(gid: string): BarrierCall {
  return { gid: parseGid(gid), branch: producerBranch, op: 'check' };
}

const take = redisScript(`
  if tonumber(redis.call('get', KEYS[1])) < tonumber(ARGV[1]) then return refuse('sold out') end
  return redis.call('decrby', KEYS[1], ARGV[1])`);
const giveBack = redisScript(`return redis.call('incrby', KEYS[1], ARGV[1])`);
const two = { keys: ['stock'], args: [2] };

async function stock(): Promise<number> {
  return Number(await redis.get('stock'));
}

/** What a script without keys comes to. */
function comesTo(lua: string, op: Op = 'action', branch = 'b'): Promise<unknown> {
  return guard.run(call(op, branch), redisScript(lua), { keys: ['stock'] });
}

const conflict = expect.objectContaining({ code: 'barrier_conflict' }) as unknown;

describe('the barrier in Redis', () => {
  // covers B2, C2
  it('gives a repeat the answer of the first, without running it again', async () => {
    for (let i = 0; i < 3; i++) expect(await guard.run(call(), take, two)).toBe(8);
    expect(await stock()).toBe(8);
  });

  // covers B3
  it('takes effect once for 64 calls at the same time, over several connections', async () => {
    const others = Array.from({ length: 8 }, () => redis.duplicate({ lazyConnect: true }));
    await Promise.all(others.map((other) => other.connect()));
    const guards = others.map((other) => redisBarrier(other));
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => guards.map((one) => one.run(call(), take, two))).flat(),
    );
    expect(new Set(answers)).toEqual(new Set([8]));
    expect(await stock()).toBe(8);
    await Promise.all(others.map((other) => other.quit()));
  });

  it('keeps a refusal', async () => {
    const much = { keys: ['stock'], args: [11] };
    await expect(guard.run(call(), take, much)).rejects.toThrow('sold out');
    await expect(guard.run(call(), take, two)).rejects.toThrow('sold out');
    expect(await stock()).toBe(10);
  });

  it('undoes once what was done', async () => {
    await guard.run(call(), take, two);
    for (let i = 0; i < 2; i++) expect(await guard.run(call('compensate'), giveBack, two)).toBe(10);
    expect(await stock()).toBe(10);
  });

  // covers B4, B5
  it('undoes nothing where nothing came, and refuses what comes then', async () => {
    for (let i = 0; i < 2; i++) expect(await guard.run(call('compensate'), giveBack, two)).toBeUndefined();
    await expect(guard.run(call(), take, two)).rejects.toThrow('suspended: compensate came before action');
    expect(await stock()).toBe(10);
  });

  // covers B6
  it.each([
    ['confirm', 'cancel'],
    ['cancel', 'confirm'],
  ] as const)('after %s refuses to %s', async (first, second) => {
    await guard.run(call('try'), take, two);
    await guard.run(call(first), giveBack, two);
    await expect(guard.run(call(second), giveBack, two)).rejects.toEqual(conflict);
    expect(await stock()).toBe(10);
  });

  // covers A19
  it('answers a check-back by whether the producer has run, and stops the one that comes late', async () => {
    expect(await guard.prepare('sent', take, two)).toBe(8);
    expect(await guard.check(checkOf('sent'))).toBeUndefined();
    for (let i = 0; i < 2; i++) await expect(guard.check(checkOf('late'))).rejects.toThrow('did not commit');
    await expect(guard.prepare('late', take, two)).rejects.toThrow('suspended');
    expect(await stock()).toBe(8);
  });

  it('keeps the rows of a branch for ttlMs after its last change', async () => {
    await redisBarrier(redis, { ttlMs: 500_000 }).run(call(), take, two);
    await redis.pexpire('settle:barrier:g:b', 1_000);
    await redisBarrier(redis, { ttlMs: 500_000 }).run(call('compensate'), giveBack, two);
    const leftMs = await redis.pttl('settle:barrier:g:b');
    expect([leftMs > 400_000, leftMs <= 500_000]).toEqual([true, true]);
    expect(() => redisBarrier(redis, { ttlMs: 0 })).toThrow('config_invalid');
  });

  it('announces its answers only where Redis is known to have synced them', async () => {
    const [asked, other] = [call(), call('try')];
    const result = await guard.run(asked, take, two);
    expect(isKept(asked, { kind: 'returned', result })).toBe(false);
    const synced = await redisBarrier(redis, { durability: 'synced' }).run(other, take, two);
    expect(isKept(other, { kind: 'returned', result: synced })).toBe(true);
  });

  it('finds its way when Redis has forgotten the script', async () => {
    await guard.run(call(), take, two);
    await redis.script('FLUSH');
    expect(await guard.run(call(), take, two)).toBe(8);
  });

  it('is unavailable when there is no server', async () => {
    const nowhere = new Redis({ port: 1, lazyConnect: true, retryStrategy: () => null });
    nowhere.on('error', () => {});
    await expect(redisBarrier(nowhere).run(call(), take, two)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('what a script returns', () => {
  it.each([
    ['nothing', '', undefined],
    ['text', `return 'ü "\\\\" 😀'`, 'ü "\\" 😀'],
    ['a number', 'return 2 ^ 53 - 1', 2 ** 53 - 1],
    ['a fraction', 'return 0.1', 0.1],
    ['what is no number', 'return 0 / 0', null],
    ['true', 'return true', true],
    ['a status', `return redis.call('set', KEYS[1], 1)`, 'OK'],
    ['what Redis has not', `return redis.call('get', 'none')`, null],
    ['a list', 'return { 1, { 2, {} }, "x" }', [1, [2, []], 'x']],
    ['members', 'return { left = 3, of = { sku = "tea" } }', { left: 3, of: { sku: 'tea' } }],
  ])('is the result, and that of a repeat: %s', async (_, lua, result) => {
    for (let i = 0; i < 2; i++) expect(await comesTo(lua)).toEqual(result);
  });
});

describe('a script that fails', () => {
  it.each([
    ['by itself', `error('broken')`, 'broken'],
    ['by a command', `return redis.call('lpush', KEYS[1], 1)`, 'WRONGTYPE'],
    ['by a result that is no JSON', 'return function() end', 'no JSON'],
    ['by a result of more than 64 KiB', `return string.rep('x', 70000)`, '65536 bytes'],
  ])('before its first write leaves nothing, %s', async (_, lua, message) => {
    await expect(comesTo(`redis.call('get', KEYS[1]) ${lua}`)).rejects.toThrow(message);
    expect(await comesTo('return 1')).toBe(1);
  });

  it.each([
    ['by itself', `error('broken')`],
    ['by a command', `return redis.call('lpush', KEYS[1], 1)`],
    ['by refusing', `return refuse('no')`],
    ['by its result', 'return function() end'],
  ])('after a write is a conflict from then on, %s (P9)', async (_, lua) => {
    await expect(comesTo(`redis.call('decr', KEYS[1]) ${lua}`)).rejects.toEqual(conflict);
    for (const op of ['action', 'compensate'] as const)
      await expect(comesTo('return 1', op)).rejects.toEqual(conflict);
    expect(await stock()).toBe(9);
  });

  it('may pass over the error of a command', async () => {
    const careful = `local reply = redis.pcall('lpush', KEYS[1], 1) if reply.err then return refuse('no list') end`;
    await expect(comesTo(careful)).rejects.toSatisfy(isRefused);
  });

  it('has to do in the end what follows a decision', async () => {
    await comesTo('return 1');
    await expect(comesTo(`return refuse('never')`, 'compensate')).rejects.toSatisfy(isRefused);
    expect(await comesTo('return 2', 'compensate')).toBe(2);
  });

  it('says where it does not compile', async () => {
    await expect(comesTo('return (')).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('compiling'),
    });
  });
});

describe('for a cluster', () => {
  it('keeps the rows under the tag of the keys', async () => {
    await redis.set('{tea}:stock', 5);
    const tagged = { keys: ['{tea}:stock'], args: [2], tag: 'tea' };
    for (let i = 0; i < 2; i++) expect(await guard.run(call(), take, tagged)).toBe(3);
    expect(await redis.exists('settle:barrier:{tea}:g:b')).toBe(1);
  });

  it.each([
    [['{tea}:stock', 'stock'], 'tea', 'the key stock'],
    [['{te}a}:stock'], 'tea', '{te}a}'],
    [[], '', 'no hash tag'],
    [[], 'a}b', 'no hash tag'],
  ])('refuses the keys %o for the tag "%s"', async (keys, tag, message) => {
    const error: unknown = await guard.run(call(), take, { keys, tag }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'config_invalid', message: expect.stringContaining(message) });
  });
});

async function effects(branch: string): Promise<Op[]> {
  return (await redis.lrange(`effects:${branch}`, 0, -1)) as Op[];
}

describe('against a model', () => {
  const rpush = `redis.call('rpush', KEYS[1], ARGV[1])`;
  const works = {
    does: redisScript(rpush),
    refuses: redisScript(`return refuse('no')`),
    fails: redisScript(`error('broken', 0)`),
  };
  const run = async ({ op, branch, gid }: BarrierCall, work: keyof typeof works): Promise<unknown> => {
    try {
      return await guard.run({ op, branch, gid }, works[work], { keys: [`effects:${branch}`], args: [op] });
    } catch (error) {
      if (error instanceof Error && error.message === 'the script failed: broken')
        throw new Error('broken', { cause: error });
      throw error;
    }
  };
  it.each<Undoing>(['compensate', 'cancel'])(
    'calls at the same time come out as some order of them would: %s',
    async (undo) => {
      const world = { begin: () => Promise.resolve(), run, effects };
      await comeOutInSomeOrder(undo, world, { numRuns: 20, begins: false });
    },
  );

  // covers C1
  it.each<[Undoing, Op[]]>([
    ['compensate', ['action', 'compensate']],
    ['cancel', ['try', 'confirm', 'cancel']],
  ])('calls one after the other come to what it says: %s', async (undo, ops) => {
    let branches = 0;
    const calls = fc.record({
      op: fc.constantFrom(...ops),
      work: fc.constantFrom('does', 'refuses', 'fails'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(calls, { maxLength: 12 }), async (asked) => {
        const branch = `s${++branches}`;
        const model = new BarrierModel(undo);
        for (const { op, work } of asked) {
          const says = model.call({ op, work, begin: false });
          const came = await run(call(op, branch), work).then(
            () => 'done',
            (error: unknown) => (isRefused(error) && (op === 'action' || op === 'try') ? 'refused' : 'error'),
          );
          expect(came).toBe(says);
        }
        expect(await effects(branch)).toEqual(model.effects);
      }),
      { numRuns: 200 },
    );
  });
});
