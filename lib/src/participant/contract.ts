/**
 * The facts every barrier holds to that runs its own transactions on a database, for ours and for yours:
 *
 *   import { describe, it } from 'vitest' // or node:test
 *   barrierContract({ describe, it }, 'my database', async () => openMine())
 */
import { parseBranchName, parseGid } from '../core/ids.ts';
import { producerBranch } from '../core/message-plan.ts';
import type { Op } from '../core/outcome.ts';
import { isRefused, Refused } from '../define/answers.ts';
import { assert } from '../util/assert.ts';
import { isSettleError, type ErrorCode } from '../util/errors.ts';
import { firstDifference, type Json } from '../util/json.ts';
import type { BarrierCall } from './barrier.ts';
import type { Guard } from './guard.ts';
import { isKept } from './kept-answers.ts';
import type { MaybePromise } from './maybe-async.ts';

/** A barrier with nothing in it, and a database of the business beside it. */
export interface ContractBarrier<Client> {
  readonly guard: Guard<Client> & {
    migrate(): MaybePromise<void>;
    prune(options: { readonly olderThanMs: number; readonly limit?: number }): Promise<number>;
  };
  /** Writes a line of the business within the transaction of this client. */
  write(client: Client, line: string): MaybePromise<unknown>;
  /** The lines that were committed, in the order they were written. */
  written(): Promise<readonly string[]>;
  /** Tries to end the transaction of this client, as work must not. */
  commit(client: Client): MaybePromise<unknown>;
  /** Makes every row of the barrier older. */
  age(ms: number): MaybePromise<unknown>;
  /** Takes the barrier's tables away. */
  dropTables(): MaybePromise<unknown>;
  /** Called after the fact is checked, whatever came out. */
  dispose?(): MaybePromise<unknown>;
}

/** Of a test runner, what the suite needs: vitest, jest, mocha and node:test all fit. */
export interface BarrierContractRunner {
  describe(name: string, body: () => void): unknown;
  it(title: string, body: () => Promise<void>): unknown;
}

/** Declares one test per fact. `open` is called for each. A fact that does not hold throws, with what was expected. */
export function barrierContract<Client>(
  runner: BarrierContractRunner,
  name: string,
  open: () => Promise<ContractBarrier<Client>>,
): void {
  runner.describe(`barrier contract: ${name}`, () => {
    for (const [title, check] of Object.entries(facts)) {
      runner.it(title, async () => {
        const opened = await open();
        try {
          await check(new World(opened));
        } finally {
          await opened.dispose?.();
        }
      });
    }
  });
}

/** As many calls of one operation at once as are to be survived. */
const duplicates = 64;

/** A barrier, and the calls of one branch. */
class World {
  readonly #opened: ContractBarrier<unknown>;

  constructor(opened: ContractBarrier<unknown>) {
    this.#opened = opened;
  }

  get guard(): ContractBarrier<unknown>['guard'] {
    return this.#opened.guard;
  }

  get opened(): ContractBarrier<unknown> {
    return this.#opened;
  }

  /** Work that writes the operation as a line, gives back how many times it ran, and then ends as it is told to. */
  worker(end: (runs: number) => MaybePromise<unknown> = () => undefined) {
    const worker = {
      runs: 0,
      work: async (client: unknown, { op }: BarrierCall): Promise<Json> => {
        const run = ++worker.runs;
        await this.#opened.write(client, op);
        await end(run);
        return { run };
      },
    };
    return worker;
  }

  run(op: Op, end?: (runs: number) => MaybePromise<unknown>): Promise<Json> {
    return this.guard.run(call(op), this.worker(end).work);
  }

  async wrote(...lines: readonly string[]): Promise<void> {
    same(await this.#opened.written(), lines, 'what was written');
  }
}

type Facts = Readonly<Record<string, (world: World) => Promise<void>>>;

const once: Facts = {
  // covers B2, C2
  'gives a repeat the answer of the first, without running it again': async (world) => {
    const worker = world.worker();
    for (let i = 0; i < 3; i++) same(await world.guard.run(call('action'), worker.work), { run: 1 });
    same(worker.runs, 1);
    await world.wrote('action');
  },
  // covers B3
  'takes effect once for 64 calls that come at the same time, and gives them one answer': async (world) => {
    const worker = world.worker();
    const answers = await Promise.all(repeated(() => world.guard.run(call('try'), worker.work)));
    same(
      answers,
      repeated(() => ({ run: 1 })),
    );
    same(worker.runs, 1);
    await world.wrote('try');
  },
  'takes effect once for 64 calls at the same time of which the first three to run fail': async (world) => {
    const worker = world.worker((runs) => failIf(runs <= 3));
    const ended = await Promise.allSettled(repeated(() => world.guard.run(call('action'), worker.work)));
    const reasons = ended.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []));
    same(reasons.map(String), ['Error: broken', 'Error: broken', 'Error: broken']);
    const answers = ended.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    same(answers, repeated(() => ({ run: 4 })).slice(3));
    await world.wrote('action');
  },
  'takes effect once for each of 64 branches that come at the same time': async (world) => {
    const branches = repeated((n) => `b${n}`);
    await Promise.all(branches.map((branch) => world.guard.run(call('action', branch), world.worker().work)));
    same((await world.opened.written()).length, duplicates);
  },
  'keeps what looks alike apart, to the letter': async (world) => {
    const gids = ['g', 'G', 'g_', 'g-', 'gg'];
    for (const gid of gids) {
      const worker = world.worker();
      await world.guard.run({ ...call('action'), gid: parseGid(gid) }, worker.work);
      same(worker.runs, 1, gid);
    }
  },
  'keeps an answer as it was, whatever is in it': async (world) => {
    const result = {
      text: `'"\\ \u0000 \n ü 😀 ${'x'.repeat(60_000)}`,
      numbers: [0.1, 2 ** 53, -1e300],
      no: null,
    };
    same(await world.guard.run(call('action'), () => result), result);
    same(await world.guard.run(call('action'), () => 'another'), result);
    same(await world.guard.run(call('try'), () => undefined), undefined);
    same(await world.guard.run(call('try'), () => 'another'), undefined);
  },
  'leaves nothing of an answer of more than 64 KiB': async (world) => {
    const large = async (client: unknown): Promise<string> => {
      await world.opened.write(client, 'large');
      return 'ü'.repeat(40_000);
    };
    await rejects(world.guard.run(call('action'), large), 'limit_exceeded');
    same(await world.guard.run(call('action'), () => 1), 1);
    await world.wrote();
  },
  'tells the handler that an answer is kept, on the very call it was asked with': async (world) => {
    const [done, refused, failed] = [call('action', 'a'), call('action', 'b'), call('action', 'c')];
    const result = await world.guard.run(done, () => ({ id: 7 }));
    assert(isKept(done, { kind: 'returned', result }), 'the answer is known to be kept');
    assert(!isKept(done, { kind: 'returned', result: { ...result } }), 'another answer is not');
    const no = await errorOf(world.guard.run(refused, refuse));
    assert(isKept(refused, { kind: 'thrown', error: no }), 'the refusal is known to be kept');
    const broken = await errorOf(world.guard.run(failed, () => failIf(true)));
    assert(!isKept(failed, { kind: 'thrown', error: broken }), 'an error is not');
  },
  'takes a second run within one request for a repeat, whatever its work': async (world) => {
    const request = call('action');
    same(await world.guard.run(request, world.worker().work), { run: 1 });
    const second = world.worker();
    same(await world.guard.run<BarrierCall, Json>(request, second.work), { run: 1 });
    same(second.runs, 0);
    await world.wrote('action');
  },
};

const failing: Facts = {
  'keeps a refusal, and rolls back what led to it': async (world) => {
    for (const end of [refuse, () => undefined]) {
      const error = await errorOf(world.run('try', end));
      assert(isRefused(error), 'it is refused');
      same(error.reason, 'no');
    }
    await world.wrote();
  },
  // covers C1
  'leaves nothing of work that failed, and does it when it is asked again': async (world) => {
    const broken = await errorOf(world.run('action', () => failIf(true)));
    same(String(broken), 'Error: broken');
    await world.wrote();
    await world.run('action');
    await world.wrote('action');
  },
  'does not keep the refusal of an undo: it has to be done in the end': async (world) => {
    await world.run('action');
    assert(isRefused(await errorOf(world.run('compensate', refuse))), 'it is refused');
    await world.run('compensate');
    await world.wrote('action', 'compensate');
  },
  'is unavailable when work ends the transaction by itself, and does not do it again': async (world) => {
    const worker = world.worker();
    const ends = async (client: unknown, asked: BarrierCall): Promise<void> => {
      await worker.work(client, asked);
      await world.opened.commit(client);
    };
    const ended = await errorOf(world.guard.run(call('action'), ends));
    // A client that does not let itself be committed leaves nothing to find out.
    if (isSettleError(ended) && ended.code === 'statement_refused') return await world.wrote();
    same(isSettleError(ended) ? ended.code : String(ended), 'unavailable');
    const again = await errorOf(world.guard.run(call('action'), ends));
    assert(isSettleError(again) && again.code === 'barrier_conflict', `a conflict, and not ${String(again)}`);
    same(worker.runs, 1);
  },
  'says what to do when its tables are missing': async (world) => {
    await world.opened.dropTables();
    const error = await rejects(world.run('action'), 'unavailable');
    assert(error.next?.includes('migrate()') === true, `"${error.next}" names migrate()`);
    await world.guard.migrate();
    await world.run('action');
    await world.wrote('action');
  },
  'may be migrated again, and by several at once': async (world) => {
    await world.run('action');
    await Promise.all(Array.from({ length: 4 }, async () => world.guard.migrate()));
    await world.run('action');
    await world.wrote('action');
    await world.opened.dropTables();
    await Promise.all(Array.from({ length: 4 }, async () => world.guard.migrate()));
    await world.run('action');
  },
};

const undoing: Facts = {
  'undoes once what was done': async (world) => {
    await world.run('action');
    for (let i = 0; i < 2; i++) same(await world.run('compensate'), { run: 1 });
    same(await world.run('action'), { run: 1 });
    await world.wrote('action', 'compensate');
  },
  // covers B4, B5
  'undoes nothing where nothing came, and refuses what comes then': async (world) => {
    for (const [first, undo] of pairs) {
      for (let i = 0; i < 2; i++) same(await world.run(undo), undefined);
      const error = await errorOf(world.run(first));
      assert(isRefused(error), 'it is refused');
      same(error.reason, `suspended: ${undo} came before ${first}`);
    }
    await world.wrote();
  },
  'an undo that comes while its action is running waits for it, and undoes it': async (world) => {
    for (const [first, undo] of pairs) {
      const [started, mayEnd] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
      const action = world.run(first, () => {
        started.resolve(undefined);
        return mayEnd.promise;
      });
      await started.promise;
      const undone = world.run(undo);
      mayEnd.resolve(undefined);
      await Promise.all([action, undone]);
    }
    await world.wrote('action', 'compensate', 'try', 'cancel');
  },
  'of an action and its undo that come at the same time, both take effect in order, or neither': async (
    world,
  ) => {
    const branches = Array.from({ length: 16 }, (_, n) => `b${n}`);
    await Promise.all(
      branches.map(async (branch) => {
        const line = (client: unknown, { op }: BarrierCall) => world.opened.write(client, `${branch} ${op}`);
        const calls = (['action', 'compensate', 'action', 'compensate'] as const).map((op) =>
          world.guard.run(call(op, branch), async (client, asked) => void (await line(client, asked))),
        );
        const [first, undo, second] = await Promise.allSettled(calls);
        same(undo?.status, 'fulfilled');
        same(first?.status, second?.status, 'both answers to the action');
        const lines = (await world.opened.written()).filter((one) => one.startsWith(`${branch} `));
        const both = [`${branch} action`, `${branch} compensate`];
        same(lines, first?.status === 'fulfilled' ? both : [], 'what took effect');
      }),
    );
  },
  // covers B6
  'of a confirm and a cancel, one happens and the other is a conflict': async (world) => {
    for (const [first, second] of [
      ['confirm', 'cancel'],
      ['cancel', 'confirm'],
    ] as const) {
      for (const op of ['try', first] as const) await world.guard.run(call(op, first), world.worker().work);
      await rejects(world.guard.run(call(second, first), world.worker().work), 'barrier_conflict');
      await world.guard.run(call(first, first), world.worker().work);
    }
    await world.wrote('try', 'confirm', 'try', 'cancel');
  },
  'of confirms and cancels that come at the same time, one kind happens and the other is a conflict': async (
    world,
  ) => {
    const branches = Array.from({ length: 16 }, (_, n) => `b${n}`);
    await Promise.all(
      branches.map(async (branch) => {
        const work = async (client: unknown, { op }: BarrierCall): Promise<string> => {
          await world.opened.write(client, `${branch} ${op}`);
          return op;
        };
        await world.guard.run(call('try', branch), work);
        const ops = ['confirm', 'cancel', 'confirm', 'cancel'] as const;
        const ended = await Promise.allSettled(ops.map((op) => world.guard.run(call(op, branch), work)));
        const done = ended.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
        const errors = ended.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []));
        same(done.length, 2, 'how many are done');
        same(done[0], done[1], 'what is done');
        for (const error of errors)
          assert(isSettleError(error) && error.code === 'barrier_conflict', String(error));
        const lines = (await world.opened.written()).filter((one) => one.startsWith(`${branch} `));
        same(lines, [`${branch} try`, `${branch} ${done[0]}`], 'what took effect');
      }),
    );
  },
  'confirms nothing that was not tried, refused, or cancelled': async (world) => {
    await rejects(world.run('confirm'), 'barrier_conflict');
    await errorOf(world.guard.run(call('try', 'refused'), refuse));
    await rejects(
      world.guard.run(call('confirm', 'refused'), () => 1),
      'barrier_conflict',
    );
    await world.guard.run(call('cancel', 'cancelled'), () => 1);
    await rejects(
      world.guard.run(call('confirm', 'cancelled'), () => 1),
      'barrier_conflict',
    );
  },
};

const halfway: Facts = {
  'a try that began and died half-way gets its cancel, once, and is refused after that': async (world) => {
    for (const [first, undo] of pairs) {
      await world.guard.begin(call(first));
      await errorOf(world.run(first, () => failIf(true)));
      for (let i = 0; i < 2; i++) same(await world.run(undo), { run: 1 });
      await world.guard.begin(call(first));
      assert(isRefused(await errorOf(world.run(first))), 'the late one is refused');
    }
    await world.wrote('compensate', 'cancel');
  },
  'a try that died half-way and was not begun has left nothing to undo': async (world) => {
    await errorOf(world.run('try', () => failIf(true)));
    same(await world.run('cancel'), undefined);
    await world.wrote();
  },
  'an operation that began runs when it is asked again, once': async (world) => {
    for (let i = 0; i < 2; i++) await world.guard.begin(call('try'));
    await rejects(world.run('confirm'), 'barrier_conflict');
    for (let i = 0; i < 2; i++) same(await world.run('try'), { run: 1 });
    await world.guard.begin(call('try'));
    await world.run('confirm');
    await world.wrote('try', 'confirm');
  },
  'an operation that began runs once for 64 calls at the same time': async (world) => {
    const worker = world.worker();
    await Promise.all(
      repeated(async () => {
        await world.guard.begin(call('action'));
        same(await world.guard.run(call('action'), worker.work), { run: 1 });
      }),
    );
    same(worker.runs, 1);
    await world.wrote('action');
  },
};

const messages: Facts = {
  'answers a check-back by whether the local transaction committed': async (world) => {
    await world.guard.prepare('m', async (client) => void (await world.opened.write(client, 'sent')));
    same(await world.guard.check(call('check', producerBranch, 'm')), undefined);
  },
  // covers A19
  'refuses a local transaction that comes after a check-back has not found it': async (world) => {
    for (let i = 0; i < 2; i++)
      assert(isRefused(await errorOf(world.guard.check(call('check', producerBranch, 'm')))), 'not found');
    const late = world.guard.prepare('m', async (client) => void (await world.opened.write(client, 'sent')));
    assert(isRefused(await errorOf(late)), 'the late one is refused');
    await world.wrote();
  },
  'a check-back that comes while the local transaction is open waits for its end': async (world) => {
    const [started, mayEnd] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
    const sending = world.guard.prepare('m', async (client) => {
      await world.opened.write(client, 'sent');
      started.resolve(undefined);
      await mayEnd.promise;
    });
    await started.promise;
    const checked = world.guard.check(call('check', producerBranch, 'm'));
    mayEnd.resolve(undefined);
    await Promise.all([sending, checked]);
    await world.wrote('sent');
  },
};

const pruning: Facts = {
  'prunes what is old enough, so much at a time, and nothing younger': async (world) => {
    for (const branch of ['a', 'b', 'c']) await world.guard.run(call('action', branch), () => 1);
    await world.opened.age(100_000);
    await world.guard.run(call('action', 'd'), () => 1);
    same(await world.guard.prune({ olderThanMs: 200_000 }), 0);
    same(await world.guard.prune({ olderThanMs: 50_000, limit: 2 }), 2);
    same(await world.guard.prune({ olderThanMs: 50_000, limit: 2 }), 1);
    same(await world.guard.prune({ olderThanMs: 50_000 }), 0);
    same(await world.guard.run(call('action', 'd'), () => 2), 1);
  },
};

const facts: Facts = { ...once, ...failing, ...undoing, ...halfway, ...messages, ...pruning };

const pairs = [
  ['action', 'compensate'],
  ['try', 'cancel'],
] as const;

/** A new object each time, as every request brings one. */
function call(op: Op, branch = 'b', gid = 'g'): BarrierCall {
  return { gid: parseGid(gid), branch: parseBranchName(branch), op };
}

function repeated<T>(make: (n: number) => T): T[] {
  return Array.from({ length: duplicates }, (_, n) => make(n));
}

function refuse(): never {
  throw new Refused('no');
}

function failIf(condition: boolean): void {
  if (condition) throw new Error('broken');
}

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  assert(false, 'it rejects');
}

async function rejects(promise: Promise<unknown>, code: ErrorCode) {
  const error = await errorOf(promise);
  assert(isSettleError(error), `it rejects with a SettleError, and not ${String(error)}`);
  same(error.code, code);
  return error;
}

function same(actual: unknown, expected: unknown, what = ''): void {
  const difference = firstDifference(actual, expected);
  if (difference === undefined) return;
  assert(
    false,
    `${what} at ${difference}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`,
  );
}
