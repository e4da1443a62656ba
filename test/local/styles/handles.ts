// Transactions that are ended by hand, on real databases: whoever begins counts, and the owner decides.
import { describe, expect, test } from 'vitest';
import { UnexpectedRollback } from '../../../lib/src/local/errors.ts';
import type { Transaction } from '../../../lib/src/local/transaction.ts';
import { VirtualClock } from '../../../lib/src/testing/virtual-clock.ts';
import type { Subject } from '../subject.ts';
import { barrierOf, outcomeOf, thrownBy, turn, worldOf } from '../world.ts';

export function handleContract<Client>(subject: Subject<Client>): void {
  const { transactions, add, insert, expectStored, warnings } = worldOf(subject);
  const oneConnection = subject.database.kind === 'sqlite';

  describe('a handle', () => {
    test('commits with done()', async () => {
      const tx = await transactions();
      await using t = await tx.begin({ label: 'order' });
      expect([t.label, t.role]).toEqual(['order', 'owner']);
      await insert(t.client, 'row');
      await expectStored();
      await t.done();
      await expectStored('row');
    });

    test('rolls back at the end of its block without done(), however the block is left', async () => {
      const tx = await transactions();
      const failure = new Error('no');
      const leave = async (how: 'return' | 'throw'): Promise<string> => {
        await using t = await tx.begin();
        await insert(t.client, how);
        if (how === 'throw') throw failure;
        return 'left';
      };
      expect(await leave('return')).toBe('left');
      expect(await thrownBy(leave('throw'))).toBe(failure);
      await expectStored();
      expect(tx.describe()).toBe('');
    });

    test('does nothing more at the end of its block after done()', async () => {
      const tx = await transactions();
      const statuses: string[] = [];
      {
        await using t = await tx.begin();
        t.onCompletion((status) => statuses.push(status));
        await insert(t.client, 'row');
        await t.done();
      }
      expect(statuses).toEqual(['committed']);
      await expectStored('row');
    });

    test('cannot be ended twice, and takes nothing afterwards', async () => {
      const tx = await transactions();
      const t = await tx.begin();
      const { client } = t;
      await t.done();
      expect(await outcomeOf(t.done())).toBe('scope_ended');
      expect(await outcomeOf(insertLate(client))).toBe('scope_ended');
      expect(await outcomeOf(t.run(() => 'never'))).toBe('scope_ended');
      expect(await outcomeOf(t.begin())).toBe('scope_ended');
      expect(() => t.onAfterCommit(() => {})).toThrow('scope_ended');
      await t.fail();
      await expectStored();
    });

    test('rolls back with fail(), which may be said again', async () => {
      const tx = await transactions();
      await using t = await tx.begin();
      await insert(t.client, 'row');
      await t.fail(new Error('no'));
      await t.fail();
      expect(await outcomeOf(t.done())).toBe('scope_ended');
      await expectStored();
    });

    test('says in done() that the COMMIT failed, and is over', async () => {
      const tx = await transactions();
      await using t = await tx.begin();
      t.onBeforeCommit(() => Promise.reject(new Error('veto')));
      await insert(t.client, 'row');
      expect(await outcomeOf(t.done())).toBe('veto');
      expect(tx.describe()).toBe('');
      await expectStored();
    });

    test('waits in done() for what was begun with it and not awaited', async () => {
      const tx = await transactions();
      await using t = await tx.begin();
      const late = t.run((inner) => insert(inner.client, 'row'));
      await t.done();
      await late;
      await expectStored('row');
    });

    test('does not become the transaction of the code around it', async () => {
      const tx = await transactions();
      await using t = await tx.begin();
      expect(tx.current()).toBeUndefined();
      expect(await t.run(() => tx.current()?.role)).toBe('joined');
      expect(tx.current()).toBeUndefined();
    });
  });

  describe('a handle within a transaction', () => {
    test('takes part in it: the owner decides', async () => {
      const tx = await transactions();
      await tx.run(async () => {
        await using t = await tx.begin();
        expect(t.role).toBe('joined');
        await insert(t.client, 'row');
        await t.done();
        await expectStored();
      });
      await expectStored('row');
    });

    test('of the ambient context, and of a handle, counts in the same way', async () => {
      const tx = await transactions();
      await using owner = await tx.begin();
      await using first = await owner.begin();
      await using second = await first.begin();
      await insert(second.client, 'deep');
      expect([first.role, second.role]).toEqual(['joined', 'joined']);
      await second.done();
      await first.done();
      await expectStored();
      await owner.done();
      await expectStored('deep');
    });

    test('may be done in any order among its siblings', async () => {
      const tx = await transactions();
      await using owner = await tx.begin();
      const [first, second] = [await owner.begin(), await owner.begin()];
      await insert(second.client, 'second');
      await first.done();
      await insert(second.client, 'still open');
      await second.done();
      await owner.done();
      await expectStored('second', 'still open');
    });

    test('that is left without done() makes the owner fail, although its function returns', async () => {
      const tx = await transactions();
      const thrown = await thrownBy(
        tx.run(async () => {
          await add(tx, 'outer');
          {
            await using t = await tx.begin();
            await insert(t.client, 'inner');
          }
        }),
      );
      expect(thrown).toBeInstanceOf(UnexpectedRollback);
      expect(String(thrown.cause)).toContain('was ended without done()');
      await expectStored();
    });

    test('that nobody ends makes the owner fail at once, not when its time is up', async () => {
      const tx = await transactions();
      const thrown = await thrownBy(
        tx.run(async () => {
          const leaked = await tx.begin({ label: 'leaked' });
          await insert(leaked.client, 'row');
        }),
      );
      expect(thrown).toBeInstanceOf(UnexpectedRollback);
      expect(thrown.cause).toMatchObject({ code: 'scope_ended' });
      expect(String(thrown.cause)).toContain('leaked was still open');
      await expectStored();
      expect(tx.describe()).toBe('');
    });

    test('that nobody ends makes the done() of a handle fail as well', async () => {
      const tx = await transactions();
      await using owner = await tx.begin();
      const leaked = await owner.begin();
      await insert(leaked.client, 'row');
      expect(await outcomeOf(owner.done())).toBe('unexpected_rollback');
      expect(await outcomeOf(leaked.done())).toBe('scope_ended');
      await expectStored();
    });

    test('that nobody ends makes the owner fail once its last statement is over', async () => {
      const tx = await transactions();
      const late: Promise<unknown>[] = [];
      const outcome = await outcomeOf(
        tx.run(async () => {
          const leaked = await tx.begin();
          late.push(Promise.resolve(insert(leaked.client, 'row')));
        }),
      );
      expect(outcome).toBe('unexpected_rollback');
      await Promise.all(late);
      await expectStored();
    });

    test('that nobody awaits is waited for while a statement of it runs', async () => {
      const tx = await transactions();
      const late: Promise<unknown>[] = [];
      await tx.run(async () => {
        const t = await tx.begin();
        late.push(Promise.resolve(insert(t.client, 'row')).then(() => t.done()));
      });
      await Promise.all(late);
      await expectStored('row');
    });

    test('has a savepoint of its own when it is nested', async () => {
      const tx = await transactions();
      await tx.run(async () => {
        await add(tx, 'outer');
        {
          await using t = await tx.begin({ propagation: 'nested' });
          expect(t.role).toBe('nested');
          await insert(t.client, 'undone');
        }
        {
          await using t = await tx.begin({ propagation: 'nested' });
          await insert(t.client, 'kept');
          await t.done();
        }
      });
      await expectStored('kept', 'outer');
    });

    test('that is nested and that nobody ends is undone alone, and the owner fails', async () => {
      const tx = await transactions();
      await using owner = await tx.begin();
      await insert(owner.client, 'outer');
      const leaked = await owner.begin({ propagation: 'nested' });
      await insert(leaked.client, 'inner');
      expect(await outcomeOf(owner.done())).toBe('unexpected_rollback');
      await expectStored();
    });

    test.skipIf(oneConnection)('commits alone with requiresNew', async () => {
      const tx = await transactions();
      await tx
        .run(async () => {
          await add(tx, 'outer');
          await using t = await tx.begin({ propagation: 'requiresNew' });
          await insert(t.client, 'alone');
          await t.done();
          throw new Error('no');
        })
        .catch(() => 'expected');
      await expectStored('alone');
    });

    test('is refused by mandatory outside of one, and by options that contradict it', async () => {
      const tx = await transactions();
      expect(await outcomeOf(tx.begin({ propagation: 'mandatory' }))).toBe('transaction_required');
      await tx.run(async () => {
        expect(await outcomeOf(tx.begin({ isolation: 'serializable' }))).toBe('option_conflict');
        const t = await tx.begin({ propagation: 'mandatory' });
        await t.done();
      });
    });

    test('joins the scope that is open in its code, whichever handle it was begun with', async () => {
      const tx = await transactions();
      await using owner = await tx.begin();
      const outcome = await outcomeOf(
        owner.run(
          async () => {
            await using t = await owner.begin();
            await insert(t.client, 'undone with the savepoint');
            await t.done();
            throw new Error('no');
          },
          { propagation: 'nested' },
        ),
      );
      expect(outcome).toBe('no');
      await insert(owner.client, 'kept');
      await owner.done();
      await expectStored('kept');
    });
  });

  describe('functions that share a handle', () => {
    test('each count for themselves: only the outermost done() commits', async () => {
      const tx = await transactions();
      await using t = await tx.begin();
      await addOrder(t);
      await expectStored();
      await t.done();
      await expectStored('a', 'b');
    });

    test('at the same time take turns with their savepoints', async () => {
      const tx = await transactions();
      const meet = barrierOf(2);
      const part = async (t: Transaction<Client>, value: string, fails: boolean): Promise<void> => {
        await meet();
        await using scope = await t.begin({ propagation: 'nested' });
        await insert(scope.client, `${value} 1`);
        await insert(scope.client, `${value} 2`);
        if (!fails) await scope.done();
      };
      await using t = await tx.begin();
      await Promise.all([part(t, 'A', false), part(t, 'B', true)]);
      await t.done();
      await expectStored('A 1', 'A 2');
    });
  });

  describe('a handle that is forgotten', () => {
    test('is told of after 30 seconds, and rolled back after 60; done() says why', async () => {
      const { tx, pass } = await inVirtualTime(5);
      const ended = Promise.withResolvers<string>();
      const leaked = await tx.begin({ label: 'leaked' });
      leaked.onCompletion(ended.resolve);
      await insert(leaked.client, 'row');
      await pass(29_999);
      expect(warnings).toEqual([]);
      await pass(1);
      expect(warnings.map(({ code, message }) => [code, message.includes('leaked (owner, active')])).toEqual([
        ['transaction_timeout', true],
      ]);
      await pass(30_000);
      expect(await ended.promise).toBe('rolled-back');
      expect(await outcomeOf(leaked.done())).toBe('transaction_timeout');
      expect(tx.describe()).toBe('');
      await expectStored();
    });

    test('is rolled back when its signal aborts; done() says so', async () => {
      const tx = await transactions();
      const user = new AbortController();
      const ended = Promise.withResolvers<string>();
      await using t = await tx.begin({ signal: user.signal });
      t.onCompletion(ended.resolve);
      await insert(t.client, 'row');
      user.abort();
      expect(await ended.promise).toBe('rolled-back');
      expect(await outcomeOf(t.done())).toBe('transaction_cancelled');
      await expectStored();
    });

    test('gives its connection back', async () => {
      const { tx, pass } = await inVirtualTime(1);
      const ended = Promise.withResolvers<string>();
      const leaked = await tx.begin();
      leaked.onCompletion(ended.resolve);
      await insert(leaked.client, 'row');
      await pass(60_000);
      await ended.promise;
      await tx.run(() => add(tx, 'next'));
      await expectStored('next');
    });
  });

  /** Its limits are over when the test says so. */
  async function inVirtualTime(connectionsMax: number): Promise<{
    readonly tx: Awaited<ReturnType<typeof transactions>>;
    readonly pass: (ms: number) => Promise<void>;
  }> {
    const clock = new VirtualClock();
    const tx = await transactions(connectionsMax, {
      clock: { now: () => clock.monotonicMs(), schedule: (ms, call) => clock.schedule(ms, call), turn },
    });
    return { tx, pass: (ms) => clock.advance(ms) };
  }

  async function addItem(t: Transaction<Client>, value: string): Promise<void> {
    await using part = await t.begin();
    await insert(part.client, value);
    await part.done();
  }

  async function addOrder(t: Transaction<Client>): Promise<void> {
    await using part = await t.begin();
    await addItem(part, 'a');
    await addItem(part, 'b');
    await part.done();
  }

  async function insertLate(client: Client): Promise<void> {
    await insert(client, 'late');
  }
}
