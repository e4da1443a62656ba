import { AsyncLocalStorage } from 'node:async_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, test } from 'vitest';
import {
  ScriptedDatabase,
  type ScriptedHandle,
  type ScriptedOptions,
} from '../../../test/local/scripted-driver.ts';
import { outcomeOf, thrownBy, turn } from '../../../test/local/world.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { SettleError } from '../util/errors.ts';
import { mysqlDialect } from './dialect.ts';
import { hookTimeoutMs } from './hooks.ts';
import { createTransactions } from './manager.ts';
import { cancelGraceMs, commitTimeoutMs, rollbackTimeoutMs } from './physical.ts';
import type { Transaction } from './transaction.ts';
import type { Transactions, TransactionsOptions } from './transactions.ts';

interface World {
  readonly tx: Transactions<ScriptedHandle>;
  readonly database: ScriptedDatabase;
  readonly clock: VirtualClock;
  readonly warnings: SettleError[];
}

const worlds: World[] = [];

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Everything in it happens when the test says so; what must never happen is looked for at its end. */
function world(options: ScriptedOptions & TransactionsOptions = {}): World {
  const clock = new VirtualClock();
  const database = new ScriptedDatabase(options);
  const warnings: SettleError[] = [];
  const tx = createTransactions(database.driver, {
    onWarning: (warning) => warnings.push(warning),
    clock: { now: () => clock.monotonicMs(), schedule: (ms, call) => clock.schedule(ms, call), turn },
    ...options,
  });
  const made = { tx, database, clock, warnings };
  worlds.push(made);
  return made;
}

afterEach(() => worlds.splice(0).forEach(expectNothingLeft));

function expectNothingLeft({ database, tx }: World): void {
  expect(database.violations).toEqual([]);
  expect(database.free).toBe(2);
  expect(tx.describe()).toBe('');
}

const lost = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
const refused = Object.assign(new Error('no such row'), { code: '23505', severity: 'ERROR' });
const failure = new Error('the function failed');

describe('a signal that aborts', () => {
  test('before the scope begins: nothing is sent, and its function is not called', async () => {
    const { tx, database } = world();
    let calls = 0;
    const run = tx.run(() => calls++, { signal: AbortSignal.abort() });
    expect(await outcomeOf(run)).toBe('transaction_cancelled');
    expect([calls, database.log]).toEqual([0, []]);
  });

  test('while it waits for a connection: the caller goes on at once, and the connection goes back when it comes', async () => {
    const { tx, database } = world();
    const acquire = database.stop('acquire');
    const abort = new AbortController();
    const run = tx.run((t) => t.client.query('insert'), { signal: abort.signal });
    await acquire.reached;
    abort.abort();
    expect(await outcomeOf(run)).toBe('transaction_cancelled');
    acquire.go();
    await turn();
    expect(database.log).toEqual(['1 release reuse']);
  });

  test('during BEGIN: the statement that waited for it is not sent', async () => {
    const { tx, database } = world();
    const begin = database.stop('begin');
    database.stopAll('cancel');
    const abort = new AbortController();
    const run = tx.run((t) => t.client.query('insert'), { signal: abort.signal });
    await begin.reached;
    abort.abort();
    begin.go();
    expect(await outcomeOf(run)).toBe('transaction_cancelled');
    expect(database.log).toEqual(['1 begin', '1 cancel', '1 rollback', '1 release reuse']);
  });

  test('during SAVEPOINT: the statement that waited for it is not sent, and the rest goes on', async () => {
    const { tx, database } = world();
    const savepoint = database.stop('savepoint settle_1');
    database.stopAll('cancel');
    const abort = new AbortController();
    const run = tx.run(async (t) => {
      await t.client.query('first');
      const nested = tx.run((n) => n.client.query('inner'), { propagation: 'nested', signal: abort.signal });
      expect(await outcomeOf(nested)).toBe('transaction_cancelled');
      await t.client.query('second');
    });
    await savepoint.reached;
    abort.abort();
    savepoint.go();
    await run;
    expect(database.log).toEqual([
      '1 begin',
      '1 first',
      '1 savepoint settle_1',
      '1 cancel',
      '1 rollback to savepoint settle_1',
      '1 release savepoint settle_1',
      '1 second',
      '1 commit',
      '1 release reuse',
    ]);
  });

  test('during a statement: it is cancelled on the server, then everything is rolled back', async () => {
    const { tx, database } = world();
    const insert = database.stop('insert');
    const abort = new AbortController();
    const run = tx.run((t) => t.client.query('insert'), { signal: abort.signal });
    await insert.reached;
    abort.abort();
    expect(await outcomeOf(run)).toBe('transaction_cancelled');
    expect(database.log).toEqual(['1 begin', '1 insert', '1 cancel', '1 rollback', '1 release reuse']);
  });

  test('during a statement that cannot be cancelled: the connection is given up after the grace', async () => {
    const { tx, database, clock } = world();
    const insert = database.stop('insert');
    database.stopAll('cancel');
    const abort = new AbortController();
    const run = tx.run((t) => t.client.query('insert'), { signal: abort.signal });
    const outcome = outcomeOf(run);
    await insert.reached;
    abort.abort();
    await clock.advance(cancelGraceMs);
    expect(await outcome).toBe('transaction_cancelled');
    // One cancel at a time: it may be a connection of its own, to a server that has too many already.
    expect(database.log).toEqual(['1 begin', '1 insert', '1 cancel', '1 release discard']);
    insert.go();
  });

  test('during RELEASE of its savepoint: too late, it has succeeded', async () => {
    const { tx, database } = world();
    const release = database.stop('release savepoint settle_1');
    const abort = new AbortController();
    const run = tx.run(async (t) => {
      const nested = tx.run((n) => n.client.query('inner'), { propagation: 'nested', signal: abort.signal });
      await nested;
      await t.client.query('second');
    });
    await release.reached;
    abort.abort();
    await turn();
    release.go();
    await run;
    expect(database.log.slice(2)).toEqual([
      '1 inner',
      '1 release savepoint settle_1',
      '1 second',
      '1 commit',
      '1 release reuse',
    ]);
  });

  test('during ROLLBACK TO of its savepoint: the reason of that rollback stays', async () => {
    const { tx, database } = world();
    const rollback = database.stop('rollback to savepoint settle_1');
    const abort = new AbortController();
    const run = tx.run(async () => {
      const nested = tx.run(
        async (n) => {
          await n.client.query('inner');
          throw failure;
        },
        { propagation: 'nested', signal: abort.signal },
      );
      expect(await thrownBy(nested)).toBe(failure);
    });
    await rollback.reached;
    abort.abort();
    await turn();
    rollback.go();
    await run;
  });

  test('during COMMIT: too late, the server decides', async () => {
    const { tx, database } = world();
    const commit = database.stop('commit');
    const abort = new AbortController();
    const run = tx.run((t) => t.client.query('insert'), { signal: abort.signal });
    await commit.reached;
    abort.abort();
    await turn();
    commit.go();
    expect(await run).toBe('insert');
  });

  test('while it waits for its turn: it ends at once, and its turn goes to the next', async () => {
    const { tx, database } = world();
    const slow = database.stop('slow');
    const abort = new AbortController();
    const run = tx.run(async () => {
      const first = tx.run((n) => n.client.query('slow'), { propagation: 'nested' });
      const second = tx.run((n) => n.client.query('never'), { propagation: 'nested', signal: abort.signal });
      const third = tx.run((n) => n.client.query('third'), { propagation: 'nested' });
      await slow.reached;
      abort.abort();
      expect(await outcomeOf(second)).toBe('transaction_cancelled');
      slow.go();
      await Promise.all([first, third]);
    });
    await run;
    expect(database.log).toContain('1 third');
    expect(database.log).not.toContain('1 never');
  });

  test('while it waits for what it did not await: that is cancelled', async () => {
    const { tx, database } = world();
    const insert = database.stop('insert');
    const abort = new AbortController();
    const run = tx.run((t) => void t.client.query('insert').catch(() => {}), { signal: abort.signal });
    await insert.reached;
    abort.abort();
    expect(await outcomeOf(run)).toBe('transaction_cancelled');
    expect(database.log).toEqual(['1 begin', '1 insert', '1 cancel', '1 rollback', '1 release reuse']);
  });

  test('in a hook before the commit: everything is rolled back', async () => {
    const { tx, database } = world();
    const abort = new AbortController();
    const audit = database.stop('audit');
    const run = tx.run(
      async (t) => {
        await t.client.query('insert');
        t.onBeforeCommit(() => t.client.query('audit'));
      },
      { signal: abort.signal },
    );
    await audit.reached;
    abort.abort();
    expect(await outcomeOf(run)).toBe('transaction_cancelled');
    expect(database.log.slice(2)).toEqual(['1 audit', '1 cancel', '1 rollback', '1 release reuse']);
  });

  test('in a hook after the commit: nothing changes', async () => {
    const { tx } = world();
    const abort = new AbortController();
    const told: string[] = [];
    const run = tx.run(
      async (t) => {
        await t.client.query('insert');
        t.onAfterCommit(() => abort.abort());
        t.onCompletion((status) => told.push(status));
      },
      { signal: abort.signal },
    );
    expect([await outcomeOf(run), told]).toEqual(['returns undefined', ['committed']]);
  });

  test('between two attempts: there is no further one, and nobody waits for the pause', async () => {
    const { tx, database, clock } = world({ random: () => 1 });
    const abort = new AbortController();
    let attempts = 0;
    const run = tx.run(
      async (t) => {
        attempts++;
        database.fail('insert', Object.assign(new Error('try again'), { code: '40001' }));
        await t.client.query('insert');
      },
      { signal: abort.signal, retry: { attemptsMax: 3, baseMs: 1_000 } },
    );
    const outcome = outcomeOf(run);
    await turn();
    expect(attempts).toBe(1);
    abort.abort();
    expect(await Promise.race([outcome, turn().then(() => 'still waits')])).toBe('transaction_cancelled');
    await clock.advance(1_000);
    expect(attempts).toBe(1);
  });
});

describe('a transaction that fails', () => {
  test('while a nested scope of it is being released: that is heard out before it is rolled back', async () => {
    const { tx, database } = world();
    const release = database.stop('release savepoint settle_1');
    const run = tx.run(async () => {
      void tx.run((n) => n.client.query('inner'), { propagation: 'nested' }).catch(() => {});
      await release.reached;
      throw failure;
    });
    const thrown = thrownBy(run);
    await release.reached;
    await turn();
    release.go();
    expect(await thrown).toBe(failure);
    expect(database.log.slice(2)).toEqual([
      '1 inner',
      '1 release savepoint settle_1',
      '1 rollback',
      '1 release reuse',
    ]);
  });

  test('while a nested scope of it is rolled back: one after the other', async () => {
    const { tx, database } = world();
    const back = database.stop('rollback to savepoint settle_1');
    const run = tx.run(async () => {
      const nested = tx.run(
        async (n) => {
          await n.client.query('inner');
          throw new Error('inner');
        },
        { propagation: 'nested' },
      );
      nested.catch(() => {});
      await back.reached;
      throw failure;
    });
    const thrown = thrownBy(run);
    await back.reached;
    await turn();
    back.go();
    expect(await thrown).toBe(failure);
  });

  test('is rolled back before the hooks of scopes within it are through, but its caller waits for these', async () => {
    const { tx, database } = world();
    const hook = Promise.withResolvers<void>();
    const order: string[] = [];
    const run = tx.run(async (t) => {
      t.onAfterRollback(() => order.push('outer hook'));
      await t.client.query('insert');
      const nested = tx.run(
        (n) => {
          n.onAfterRollback(() => hook.promise.then(() => order.push('inner hook')));
          return new Promise(() => {});
        },
        { propagation: 'nested' },
      );
      nested.catch(() => {});
      throw failure;
    });
    const ended = thrownBy(run).then(() => order.push('caller'));
    await turn();
    expect([database.log, order]).toEqual([['1 begin', '1 insert', '1 rollback', '1 release reuse'], []]);
    hook.resolve();
    await ended;
    expect(order).toEqual(['inner hook', 'outer hook', 'caller']);
  });

  test('gives its connection up when the ROLLBACK is not answered', async () => {
    const { tx, database, clock } = world();
    const rollback = database.stop('rollback');
    const run = tx.run(async (t) => {
      await t.client.query('insert');
      throw failure;
    });
    const thrown = thrownBy(run);
    await rollback.reached;
    await clock.advance(rollbackTimeoutMs);
    expect(await thrown).toBe(failure);
    expect(database.log.at(-1)).toBe('1 release discard');
    rollback.go();
  });

  test('ends in time when RELEASE of a savepoint is not answered', async () => {
    const { tx, database, clock } = world();
    database.stop('release savepoint settle_1');
    const run = tx.run(() => tx.run((n) => n.client.query('inner'), { propagation: 'nested' }));
    const outcome = outcomeOf(run);
    await clock.advance(60_000 + cancelGraceMs + rollbackTimeoutMs);
    expect(await Promise.race([outcome, turn().then(() => 'still waits')])).not.toBe('still waits');
    expect(database.log.at(-1)).toBe('1 release discard');
  });

  test('in the middle of its BEGIN gives the connection up: half of it may hold for the next transaction', async () => {
    const { tx, database } = world({ dialect: mysqlDialect });
    database.fail('start transaction', Object.assign(new Error('interrupted'), { errno: 1317 }));
    await outcomeOf(tx.run((t) => t.client.query('insert'), { isolation: 'read-uncommitted' }));
    expect(database.log).toEqual([
      '1 set transaction isolation level read uncommitted',
      '1 start transaction',
      '1 rollback',
      '1 release discard',
    ]);
  });

  test('rolls back when rollbackOn itself throws', async () => {
    const { tx, database } = world();
    const wrong = new Error('rollbackOn is wrong');
    const run = tx.run(
      async (t) => {
        await t.client.query('insert');
        throw failure;
      },
      {
        rollbackOn: () => {
          throw wrong;
        },
      },
    );
    const thrown = await thrownBy(run);
    expect(thrown).toBeInstanceOf(AggregateError);
    expect((thrown as AggregateError).errors).toEqual([failure, wrong]);
    expect(database.log.slice(2)).toEqual(['1 rollback', '1 release reuse']);
  });

  test('says what failed when its function throws nothing but undefined', async () => {
    const { tx, database } = world();
    const run = tx.run(async (t) => {
      await t.client.query('insert');
      // oxlint-disable-next-line typescript/only-throw-error -- libraries that users call do so
      throw undefined;
    });
    await expect(run).rejects.toBeUndefined();
    expect(database.log.at(-1)).toBe('1 release reuse');
  });
});

describe('a handle that is ended by hand', () => {
  test('commits once when done() is called twice at the same time', async () => {
    const { tx, database } = world();
    const t = await tx.begin();
    const insert = database.stop('insert');
    const late = t.client.query('insert');
    await insert.reached;
    const first = outcomeOf(t.done());
    const second = outcomeOf(t.done());
    insert.go();
    expect(await Promise.all([first, second])).toEqual(['returns undefined', 'scope_ended']);
    await late;
    expect(database.log.filter((line) => line === '1 commit')).toHaveLength(1);
  });

  test('stays committed when fail() is called during the COMMIT, and fail() waits for it', async () => {
    const { tx, database } = world();
    const t = await tx.begin();
    const told: string[] = [];
    t.onCompletion((status) => told.push(status));
    await t.client.query('insert');
    const commit = database.stop('commit');
    const done = outcomeOf(t.done());
    await commit.reached;
    const failed = t.fail(failure).then(() => told.push('fail() went on'));
    await turn();
    commit.go();
    expect(await done).toBe('returns undefined');
    await failed;
    expect(told).toEqual(['committed', 'fail() went on']);
    expect(database.log).not.toContain('1 rollback');
  });

  test('is rolled back when fail() is called while done() waits for what was not awaited', async () => {
    const { tx, database } = world();
    const t = await tx.begin();
    const insert = database.stop('insert');
    const late = outcomeOf(t.client.query('insert'));
    await insert.reached;
    const done = thrownBy(t.done());
    await t.fail(failure);
    expect(await done).toBe(failure);
    await late;
    expect(database.log.slice(2)).toEqual(['1 cancel', '1 rollback', '1 release reuse']);
  });

  test('is rolled back once when fail() is called twice at the same time', async () => {
    const { tx, database } = world();
    const t = await tx.begin();
    await t.client.query('insert');
    await Promise.all([t.fail(failure), t.fail(), t[Symbol.asyncDispose]()]);
    expect(database.log.slice(2)).toEqual(['1 rollback', '1 release reuse']);
    expect(await outcomeOf(t.done())).toBe('scope_ended');
  });

  test('sends nothing when it was never used', async () => {
    const { tx, database } = world();
    await (await tx.begin()).done();
    await (await tx.begin()).fail();
    expect(database.log).toEqual([]);
  });

  test('may call fail() from its hooks after the rollback', async () => {
    const { tx } = world();
    const t = await tx.begin();
    t.onAfterRollback(() => t.fail());
    t.onCompletion(() => t[Symbol.asyncDispose]());
    expect(await outcomeOf(t.fail(failure))).toBe('returns undefined');
  });

  test('may call fail() from its own hook', async () => {
    const { tx, database } = world();
    const t = await tx.begin();
    await t.client.query('insert');
    t.onBeforeCommit(() => t.fail(failure));
    expect(await thrownBy(t.done())).toBe(failure);
    expect(database.log.slice(2)).toEqual(['1 rollback', '1 release reuse']);
  });
});

describe('what the driver does wrong', () => {
  test('a cancel() that throws does not keep the transaction from being rolled back', async () => {
    const { tx, database } = world();
    const insert = database.stop('insert');
    const { driver } = database;
    const broken = createTransactions({
      ...driver,
      acquire: async (need) => {
        const connection = await driver.acquire(need);
        connection.cancel = () => {
          insert.go();
          throw new Error('cannot cancel');
        };
        return connection;
      },
    });
    const abort = new AbortController();
    const run = broken.run((t) => t.client.query('insert'), { signal: abort.signal });
    await insert.reached;
    abort.abort();
    expect(await outcomeOf(run)).toBe('transaction_cancelled');
    expect(database.log.slice(2)).toEqual(['1 rollback', '1 release reuse']);
    expect(tx.describe()).toBe('');
  });

  test('a release() that throws is told of, and changes no outcome', async () => {
    const { tx, database, warnings } = world();
    database.fail('release', new Error('the pool is ended'));
    expect(await tx.run((t) => t.client.query('insert'))).toBe('insert');
    expect(warnings.map(({ code }) => code)).toEqual(['internal']);
    database.giveBack();
  });

  test('a hook that never ends is waited for so long, and those after it run', async () => {
    const { tx, clock } = world();
    const told: string[] = [];
    const ran = outcomeOf(
      tx.run((t) => {
        t.onAfterCommit(() => new Promise(() => {}));
        t.onAfterCommit(() => told.push('next'));
      }),
    );
    await clock.advance(hookTimeoutMs);
    expect(await ran).toBe('post_commit_failed');
    expect(told).toEqual(['next']);
  });

  test('hooks that what is flushed registers run too, but not for ever', async () => {
    const { database } = world();
    const flushing = (registers: number) => {
      let left = registers;
      const tx: Transactions<ScriptedHandle> = createTransactions<ScriptedHandle>({
        ...database.driver,
        holding: {
          flush: () => (left-- > 0 ? tx.current()?.onBeforeCommit(() => told.push(left)) : undefined),
          end: () => {},
        },
      });
      const told: number[] = [];
      const ran = tx.run(async (t) => {
        await t.client.query('insert');
        t.onBeforeCommit(() => told.push(registers));
      });
      return { told, outcome: outcomeOf(ran) };
    };
    const few = flushing(2);
    expect(await few.outcome).toBe('returns undefined');
    expect(few.told).toHaveLength(3);
    expect(await flushing(Infinity).outcome).toBe('limit_exceeded');
  });

  test('an acquire() that throws at once is database_unreachable', async () => {
    const { database } = world();
    const broken = createTransactions({
      ...database.driver,
      acquire() {
        throw new Error('no pool');
      },
    });
    expect(await outcomeOf(broken.run((t) => t.client.query('insert')))).toBe('database_unreachable');
  });

  test('an acquire() that fails for want of a network is database_unreachable', async () => {
    const { tx, database } = world();
    database.fail('acquire', Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
    expect(await outcomeOf(tx.run((t) => t.client.query('insert')))).toBe('database_unreachable');
  });
});

function onWarning(): never {
  throw new Error('the listener is wrong');
}

describe('a connection that the pool opens', () => {
  test('runs in no transaction, also if it was opened for one: what it calls back later would be in an ended one', async () => {
    const { database } = world();
    const contexts: (<T>(call: () => T) => T)[] = [];
    const tx = createTransactions({
      ...database.driver,
      acquire(need) {
        contexts.push(AsyncLocalStorage.snapshot());
        return database.driver.acquire(need);
      },
    });
    await tx.run((t) => t.client.query('insert'));
    expect(contexts.map((within) => within(() => tx.current()))).toEqual([undefined]);
  });
});

describe('a listener of warnings that throws', () => {
  test('does not make a committed transaction look rolled back', async () => {
    const { tx, database } = world({ onWarning });
    database.fail('release', new Error('the pool is ended'));
    expect(await tx.run((t) => t.client.query('insert'))).toBe('insert');
    database.giveBack();
  });

  test('does not hide why a transaction was rolled back', async () => {
    const { tx } = world({ onWarning });
    const run = tx.run((t) => {
      t.onAfterRollback(() => {
        throw new Error('the hook is wrong');
      });
      throw failure;
    });
    expect(await thrownBy(run)).toBe(failure);
  });

  test('does not keep a transaction from being timed out', async () => {
    const { tx, clock } = world({ onWarning, warnAfterMs: 10 });
    const run = tx.run(() => new Promise(() => {}), { timeoutMs: 20 });
    const outcome = outcomeOf(run);
    await clock.advance(20);
    expect(await outcome).toBe('transaction_timeout');
  });
});

describe('hooks', () => {
  test('of a savepoint go up with it, however many there are', async () => {
    const { tx } = world();
    let calls = 0;
    await tx.run(async (t) => {
      for (let n = 0; n < 6_000; n++) t.onAfterCommit(() => calls++);
      await tx.run(
        (n) => {
          for (let i = 0; i < 6_000; i++) n.onAfterCommit(() => calls++);
        },
        { propagation: 'nested' },
      );
    });
    expect(calls).toBe(12_000);
  });

  test('run in their order, also those that hooks register', async () => {
    const { tx } = world();
    const order: string[] = [];
    await tx.run((t) => {
      t.onBeforeCommit(() => {
        order.push('before');
        t.onAfterCommit(() => order.push('after, from a hook'));
        t.onBeforeCommit(() => order.push('before, from a hook'));
        return tx.run((n) => n.onBeforeCommit(() => order.push('before, from a savepoint in a hook')), {
          propagation: 'nested',
        });
      });
      t.onBeforeCommit(() => order.push('before too'));
      t.onCompletion((status) => order.push(status));
    });
    expect(order).toEqual([
      'before',
      'before too',
      'before, from a hook',
      'before, from a savepoint in a hook',
      'after, from a hook',
      'committed',
    ]);
  });

  test('that are registered after the end are refused, and say so to the caller', async () => {
    const { tx } = world();
    const run = tx.run((t) => t.onAfterCommit(() => t.onAfterCommit(() => {})));
    expect(await outcomeOf(run)).toBe('post_commit_failed');
  });

  test('before the commit may ask for a rollback', async () => {
    const { tx, database } = world();
    await tx.run(async (t) => {
      await t.client.query('insert');
      t.onBeforeCommit(() => t.setRollbackOnly());
    });
    expect(database.log.slice(2)).toEqual(['1 rollback', '1 release reuse']);
  });

  test('before the commit may run nested scopes, and transactions of their own', async () => {
    const { tx, database } = world();
    await tx.run(async (t) => {
      await t.client.query('insert');
      t.onBeforeCommit(async () => {
        await tx.run((n) => n.client.query('inner'), { propagation: 'nested' });
        await tx.run((own) => own.client.query('audit'), { propagation: 'requiresNew' });
      });
    });
    expect(database.log.slice(2)).toEqual([
      '1 savepoint settle_1',
      '1 inner',
      '1 release savepoint settle_1',
      '2 begin',
      '2 audit',
      '2 commit',
      '2 release reuse',
      '1 commit',
      '1 release reuse',
    ]);
  });

  test('after the commit begin transactions of their own', async () => {
    const { tx, database } = world();
    await tx.run(async (t) => {
      await t.client.query('insert');
      t.onAfterCommit(() => tx.run((own) => own.client.query('mail')));
    });
    expect(database.log.slice(2)).toEqual([
      '1 commit',
      '1 release reuse',
      '2 begin',
      '2 mail',
      '2 commit',
      '2 release reuse',
    ]);
  });
});

describe('the reply to COMMIT', () => {
  test('that is lost leaves the end unknown, to the hooks too', async () => {
    const { tx, database } = world();
    database.fail('commit', lost);
    const told: string[] = [];
    const run = tx.run(async (t) => {
      await t.client.query('insert');
      t.onCompletion((status) => told.push(status));
    });
    expect(await outcomeOf(run)).toBe('commit_unknown');
    expect([told, database.log.at(-1)]).toEqual([['unknown'], '1 release discard']);
  });

  test('that does not come in time leaves the end unknown', async () => {
    const { tx, database, clock } = world();
    const commit = database.stop('commit');
    const run = outcomeOf(tx.run((t) => t.client.query('insert')));
    await commit.reached;
    await clock.advance(commitTimeoutMs);
    expect(await run).toBe('commit_unknown');
    commit.go();
    await turn();
    expect(database.log.at(-1)).toBe('1 release discard');
  });

  test('that refuses is the error the caller gets, and everything is rolled back', async () => {
    const { tx, database } = world();
    database.fail('commit', refused);
    expect(await thrownBy(tx.run((t) => t.client.query('insert')))).toBe(refused);
  });
});

describe('statements of an outer handle', () => {
  test('made in a nested scope are part of it', async () => {
    const { tx, database } = world();
    await tx.run(async (t) => {
      await outcomeOf(
        tx.run(
          async () => {
            await t.client.query('outer handle');
            throw failure;
          },
          { propagation: 'nested' },
        ),
      );
    });
    expect(database.log).toEqual([
      '1 begin',
      '1 savepoint settle_1',
      '1 outer handle',
      '1 rollback to savepoint settle_1',
      '1 release savepoint settle_1',
      '1 commit',
      '1 release reuse',
    ]);
  });

  test('made in a transaction of its own within a nested scope are part of that scope', async () => {
    const { tx, database } = world();
    await tx.run((t) =>
      tx.run(
        () =>
          tx.run(
            async (own) => {
              await own.client.query('own');
              await t.client.query('outer handle');
            },
            { propagation: 'requiresNew' },
          ),
        { propagation: 'nested' },
      ),
    );
    expect(database.log.slice(0, 5)).toEqual([
      '1 begin',
      '1 own',
      '2 begin',
      '2 savepoint settle_1',
      '2 outer handle',
    ]);
  });

  test('made after its end are refused, and reach no transaction', async () => {
    const { tx, database } = world();
    const kept = await tx.run((t) => t.client);
    await tx.run(async (t) => {
      await t.client.query('insert');
      expect(await outcomeOf(kept.query('late'))).toBe('scope_ended');
    });
    expect(database.log).not.toContain('1 late');
  });
});

describe('time', () => {
  test('that is up while a scope waits for its turn ends it then', async () => {
    const { tx, database, clock } = world();
    const slow = database.stop('slow');
    const run = tx.run(async () => {
      const first = tx.run((n) => n.client.query('slow'), { propagation: 'nested' });
      const second = outcomeOf(tx.run(() => {}, { propagation: 'nested', timeoutMs: 10 }));
      await slow.reached;
      await clock.advance(10);
      expect(await Promise.race([second, turn().then(() => 'still waits')])).toBe('transaction_timeout');
      slow.go();
      await first;
    });
    await run;
  });

  test('that nobody could mean is refused', async () => {
    const { tx } = world();
    const endless = { attemptsMax: 2, baseMs: Infinity, maxMs: Infinity };
    expect(await outcomeOf(tx.run(() => {}, { retry: endless }))).toBe('config_invalid');
    for (const timeoutMs of [0, -1, Number.NaN, -Infinity])
      expect(await outcomeOf(tx.run(() => {}, { timeoutMs }))).toBe('config_invalid');
  });

  test('that is longer than any timer is no limit, and the server is not told of it', async () => {
    const { tx, database } = world();
    for (const timeoutMs of [2 ** 31, Number.MAX_SAFE_INTEGER, Number.MAX_VALUE, Infinity]) {
      await tx.run((t) => t.client.query('insert'), { timeoutMs });
    }
    const begun = database.log.filter((line) => line.includes('begin'));
    expect(begun).toEqual(['1 begin', '2 begin', '3 begin', '4 begin']);
  });
});

describe('the function', () => {
  test('that throws at once rejects, and its transaction is rolled back', async () => {
    const { tx } = world();
    const run = tx.run((): never => {
      throw failure;
    });
    expect(await thrownBy(run)).toBe(failure);
  });

  test('that returns a thenable is waited for, once', async () => {
    const { tx } = world();
    let thens = 0;
    const thenable: PromiseLike<string> = {
      // oxlint-disable-next-line unicorn/no-thenable -- it is what is tested
      then(resolve) {
        thens++;
        return Promise.resolve('done').then(resolve);
      },
    };
    expect(await tx.run(() => thenable)).toBe('done');
    expect(thens).toBe(1);
  });
});

describe('a scope that has ended', () => {
  test('keeps nothing of what its function returned or registered in memory, whoever still has it', async () => {
    const { tx } = world();
    const kept: unknown[] = [];
    const left: WeakRef<object>[] = [];
    const leave = (): object => {
      const object = { rows: [1, 2, 3] };
      left.push(new WeakRef(object));
      return object;
    };
    const work = (t: Transaction<ScriptedHandle>): object => {
      kept.push(t);
      const [before, after] = [leave(), leave()];
      t.onBeforeCommit(() => before);
      t.onCompletion(() => after);
      return leave();
    };
    await tx.run(work);
    await tx.run((t) => {
      t.setRollbackOnly();
      return work(t);
    });
    const handle = await tx.begin();
    work(handle);
    await handle.fail();
    await turn();
    collectGarbage();
    expect(left.map((ref) => ref.deref())).toEqual(left.map(() => undefined));
    expect(kept).toHaveLength(3);
  });
});

describe('setRollbackOnly', () => {
  test('by its owner is no error, and what is later said about the end says so', async () => {
    const { tx } = world();
    const kept = await tx.run((t) => {
      t.setRollbackOnly();
      return t;
    });
    const thrown = await thrownBy(kept.run(() => {}));
    expect(thrown.message).not.toContain('undefined');
  });

  test('by one that joined makes its owner fail, with the reason', async () => {
    const { tx } = world();
    const reason = new Error('out of stock');
    const thrown = await thrownBy(tx.run(() => tx.run((t) => t.setRollbackOnly(reason))));
    expect([thrown.code, thrown.cause]).toEqual(['unexpected_rollback', reason]);
  });

  test('in a branch beside another one rolls back both', async () => {
    const { tx, database } = world();
    const run = tx.run(() =>
      Promise.all([tx.run((t) => t.client.query('a')), tx.run((t) => t.setRollbackOnly())]),
    );
    expect(await outcomeOf(run)).toBe('unexpected_rollback');
    expect(database.log).toContain('1 rollback');
  });
});
