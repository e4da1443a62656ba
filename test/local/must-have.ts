// The twenty items that a manager of local transactions must hold to, as facts.
import { AsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { PostCommitError, UnexpectedRollback } from '../../lib/src/local/errors.ts';
import { propagations, type Propagation } from '../../lib/src/local/propagation.ts';
import { messageOf } from '../../lib/src/util/errors.ts';
import { FaultProxy } from '../crash/fault-proxy.ts';
import type { Subject } from './subject.ts';
import { barrierOf, outcomeOf, thrownBy, turn, worldOf } from './world.ts';

export function mustHave<Client>(subject: Subject<Client>): void {
  const { database, raw } = subject;
  const { kind } = database;
  /** One handle is one connection, and its statements cannot wait. */
  const oneConnection = kind === 'sqlite';

  describe('the must-have list', () => {
    const { transactions, add, insert, expectStored, warnings } = worldOf(subject);

    describe('1. propagation', () => {
      const endings = ['returns', 'throws', 'throws, and is caught'] as const;
      const combinations = propagations.flatMap((propagation) =>
        [false, true].flatMap((within) => endings.map((ending) => ({ propagation, within, ending }))),
      );
      test.each(combinations)('$propagation, within a tx: $within, $ending', async (combination) => {
        const { propagation, within, ending } = combination;
        const tx = await transactions(2);
        const inner = async (): Promise<void> => {
          await add(tx, 'inner');
          if (ending !== 'returns') throw new Error('inner failed');
        };
        const scope = (): Promise<void> => runAny(tx, inner, propagation);
        const work = async (): Promise<void> => {
          if (within) await add(tx, 'outer');
          const ran = scope();
          await (ending === 'throws, and is caught' ? ran.catch(() => 'caught') : ran);
        };
        const outcome = await outcomeOf(within ? tx.run(work) : work());
        const expected = expectation(combination, oneConnection);
        expect(outcome).toBe(expected.outcome);
        await expectStored(...expected.stored);
      });
    });

    test('2. rollback-only surfaces at the outermost scope, with the cause chain', async () => {
      const tx = await transactions();
      const root = new Error('root');
      const wrapped = new Error('wrapped', { cause: root });
      const thrown = await thrownBy(
        tx.run(async () => {
          await add(tx, 'outer');
          await tx
            .run(async () => {
              await tx.run(() => Promise.reject(root)).catch(() => Promise.reject(wrapped));
            })
            .catch(() => 'caught');
        }),
      );
      expect(thrown).toBeInstanceOf(UnexpectedRollback);
      // The first failure is the one that counts; what was made of it on the way is only said about it.
      expect(thrown.cause).toBe(root);
      await expectStored();
    });

    test('3. a failed statement that was caught (E at commit) leaves the connection clean for the next one', async () => {
      const tx = await transactions(1);
      await tx.run(() => add(tx, 'taken'));
      await tx.run(() => add(tx, 'taken').catch(() => 'caught')).catch(() => 'told');
      await tx.run(() => add(tx, 'next'));
      await expectStored('taken', 'next');
    });

    test('4. sibling savepoints under Promise.all, with savepoints inside: each is undone alone', async () => {
      const tx = await transactions();
      const nested = (name: string, fails: boolean, inside?: () => Promise<unknown>) =>
        tx.run(
          async () => {
            await add(tx, `${name}1`);
            await turn();
            await inside?.();
            await add(tx, `${name}2`);
            if (fails) throw new Error(name);
          },
          { propagation: 'nested', label: name },
        );
      await tx.run(async () => {
        const outcomes = await Promise.all(
          [
            nested('A', false, () => outcomeOf(nested('a', true))),
            nested('B', true, () => nested('b', false)),
            nested('C', false, () => nested('c', false)),
          ].map(outcomeOf),
        );
        expect(outcomes).toEqual(['returns undefined', 'B', 'returns undefined']);
      });
      await expectStored('A1', 'A2', 'C1', 'C2', 'c1', 'c2');
    });

    test('4. Promise.race: the sibling that lost the race is waited for, and stored', async () => {
      const tx = await transactions();
      await tx.run(async () => {
        const slow = tx.run(
          async () => {
            await turn();
            await add(tx, 'slow');
          },
          { propagation: 'nested' },
        );
        await Promise.race([slow, Promise.resolve()]);
      });
      await expectStored('slow');
    });

    test('5. savepoint names are unique on the connection: a later sibling does not undo an earlier one', async () => {
      const tx = await transactions();
      await tx.run(async () => {
        await tx.run(
          async () => {
            await tx.run(() => add(tx, 'first'), { propagation: 'nested' });
            const failing = tx.run(
              async () => {
                await add(tx, 'second');
                throw new Error('second');
              },
              { propagation: 'nested' },
            );
            await outcomeOf(failing);
          },
          { propagation: 'nested' },
        );
        await tx.run(() => add(tx, 'third'), { propagation: 'nested' });
      });
      await expectStored('first', 'third');
    });

    test('6. N transactions on a pool of N run at once, and N+1 wait for one of them', async ({ skip }) => {
      if (oneConnection) skip('one handle is one connection');
      const tx = await transactions(2);
      const hold = Promise.withResolvers<undefined>();
      const all = barrierOf(3);
      const held = [1, 2].map((n) =>
        tx.run(
          async () => {
            await add(tx, `held ${n}`);
            await all();
            await hold.promise;
          },
          { label: `holder ${n}` },
        ),
      );
      await all();
      const late = tx.run(() => add(tx, 'too late'), { acquireTimeoutMs: 50, label: 'late' });
      const patient = tx.run(() => add(tx, 'patient'));
      const thrown = await thrownBy(late);
      hold.resolve(undefined);
      expect(thrown).toMatchObject({ code: 'pool_exhausted' });
      expect(thrown.message).toMatch(
        /no connection for late at depth 0: none came within 50 ms.*2 of 2.*holder \d .*holder \d/,
      );
      await Promise.all([...held, patient]);
      await expectStored('held 1', 'held 2', 'patient');
    });

    test('7. a child scope that outlives its parent is refused, with the place it was begun', async () => {
      const tx = await transactions();
      const parentEnds = Promise.withResolvers<undefined>();
      let child: Promise<unknown> = Promise.resolve();
      await thrownBy(
        tx.run(async () => {
          child = tx.run(
            async () => {
              await add(tx, 'child 1');
              await parentEnds.promise;
              await add(tx, 'child 2');
            },
            { label: 'child' },
          );
          child.catch(() => 'seen below');
          await turn();
          throw new Error('parent');
        }),
      );
      parentEnds.resolve(undefined);
      const thrown = await thrownBy(child);
      expect(thrown).toMatchObject({ code: 'scope_ended', cause: { message: 'parent' } });
      await expectStored();
    });

    test('7. a scope begun in the context of one that has ended is refused', async () => {
      const tx = await transactions();
      let later: (() => Promise<unknown>) | undefined;
      await tx.run(() => {
        later = bindToContext(() => tx.run(() => add(tx, 'late')));
      });
      expect(await thrownBy(later?.() ?? Promise.resolve())).toMatchObject({ code: 'scope_ended' });
      await expectStored();
    });

    test.each([
      ['an event emitter', viaEmitter],
      ['a custom thenable', viaThenable],
      ['queueMicrotask', viaMicrotask],
      ['a timer', viaTimer],
    ])('8. the context is kept through %s', async (_, via) => {
      const tx = await transactions();
      await tx
        .run(async () => {
          await via(() => add(tx, 'kept'));
          throw new Error('rolls back');
        })
        .catch(() => 'as wanted');
      await expectStored();
    });

    test('8. a query that runs when it is awaited runs in the scope whose function returned it', async () => {
      const tx = await transactions();
      await tx.run(async (outer) => {
        const lazily = async (label: string): Promise<void> => {
          expect(tx.current()?.label).toBe(label);
          await insert(outer.client, label);
        };
        for (const propagation of ['required', 'nested'] as const) {
          await tx.run(() => thenable(() => lazily(propagation)), { propagation, label: propagation });
        }
      });
      await expectStored('required', 'nested');
    });

    test('8. where the context was lost, the transaction itself still works', async () => {
      const tx = await transactions();
      await tx.run(async (t) => {
        await tx.exit(async () => {
          expect(tx.current()).toBeUndefined();
          await insert(t.client, 'by its client');
          await t.run(() => add(tx, 'by its run'));
        });
      });
      await expectStored('by its client', 'by its run');
    });

    test('8. a generator consumed after its scope is refused', async () => {
      const tx = await transactions();
      const rows = await tx.run((t) => ({
        *read() {
          yield insert(t.client, 'late');
        },
      }));
      const consumed = async (): Promise<unknown> => await Promise.all(rows.read());
      expect(await thrownBy(consumed())).toMatchObject({ code: 'scope_ended' });
      await expectStored();
    });

    test('9. a timer that captured the context does not pin the connection, and exit() lets it go on', async () => {
      const tx = await transactions(1);
      let captured: (() => Promise<unknown>) | undefined;
      let exited: (() => Promise<unknown>) | undefined;
      await tx.run(async () => {
        await add(tx, 'first');
        captured = bindToContext(() => add(tx, 'captured'));
        exited = tx.exit(() => bindToContext(() => tx.run(() => add(tx, 'exited'))));
      });
      await tx.run(() => add(tx, 'second'));
      expect(await thrownBy(captured?.() ?? Promise.resolve())).toMatchObject({ code: 'scope_ended' });
      await exited?.();
      await expectStored('first', 'second', 'exited');
    });

    describe('10. hooks', () => {
      test('run in order, awaited, before the caller goes on, outside of the transaction', async () => {
        const tx = await transactions(1);
        const told: string[] = [];
        const tell = (what: string) => async () => {
          await turn();
          told.push(`${what}${tx.current() === undefined ? '' : ' in tx'}`);
        };
        await tx.run(async (t) => {
          t.onCompletion((status) => tell(`completed ${status}`)());
          t.onAfterCommit(tell('after 1'));
          t.onBeforeCommit(tell('before'));
          t.onAfterCommit(tell('after 2'));
          t.onAfterRollback(tell('never'));
          await add(tx, 'row');
        });
        told.push('caller');
        expect(told).toEqual(['before in tx', 'after 1', 'after 2', 'completed committed', 'caller']);
      });

      test('of a rolled-back savepoint are dropped, and told of its rollback; those of a released one go up', async () => {
        const tx = await transactions();
        const told: string[] = [];
        const nested = (name: string, fails: boolean) =>
          tx.run(
            async (t) => {
              await add(tx, name);
              t.onBeforeCommit(() => told.push(`${name} before`));
              t.onAfterCommit(() => told.push(`${name} committed`));
              t.onCompletion((status) => told.push(`${name} ${status}`));
              if (fails) throw new Error(name);
            },
            { propagation: 'nested' },
          );
        await tx.run(async () => {
          await outcomeOf(nested('dropped', true));
          expect(told).toEqual(['dropped rolled-back']);
          await nested('kept', false);
          expect(told).toEqual(['dropped rolled-back']);
        });
        expect(told).toEqual(['dropped rolled-back', 'kept before', 'kept committed', 'kept committed']);
        await expectStored('kept');
      });

      test('before the commit may write, register hooks, and veto', async () => {
        const tx = await transactions();
        await tx.run(async (t) => {
          await add(tx, 'row');
          t.onBeforeCommit(async () => {
            await insert(t.client, 'by the first');
            t.onBeforeCommit(() => add(tx, 'by the second'));
          });
        });
        await expectStored('row', 'by the first', 'by the second');
        const veto = new Error('veto');
        const thrown = await thrownBy(
          tx.run(async (t) => {
            await add(tx, 'vetoed');
            t.onBeforeCommit(() => Promise.reject(veto));
          }),
        );
        expect(thrown).toBe(veto);
        await expectStored('row', 'by the first', 'by the second');
      });

      test('that open a transaction get a new one', async () => {
        const tx = await transactions(1);
        await tx.run(async (t) => {
          await add(tx, 'first');
          t.onAfterCommit(() => tx.run(() => add(tx, 'of the hook')));
        });
        await expectStored('first', 'of the hook');
      });

      test('that fail after a rollback do not hide why there was one', async () => {
        const tx = await transactions();
        const why = new Error('why');
        const thrown = await thrownBy(
          tx.run(async (t) => {
            await add(tx, 'row');
            t.onAfterRollback(() => Promise.reject(new Error('hook')));
            throw why;
          }),
        );
        expect(thrown).toBe(why);
        expect(warnings).toMatchObject([{ code: 'hook_failed', cause: { message: 'hook' } }]);
      });

      test('are told of every failure at once: committed: true', async () => {
        const tx = await transactions();
        const thrown = await thrownBy(
          tx.run((t) => {
            t.onAfterCommit(() => Promise.reject(new Error('one')));
            t.onCompletion(() => Promise.reject(new Error('two')));
          }),
        );
        expect(thrown).toBeInstanceOf(PostCommitError);
        expect((thrown as PostCommitError).errors.map(messageOf)).toEqual(['one', 'two']);
      });
    });

    test('11. COMMIT without an answer: commit_unknown, status unknown, never "rolled back"', async ({
      skip,
    }) => {
      if (oneConnection) skip('the database is in this process: there is no network');
      const proxy = await FaultProxy.start(database.url, 1);
      const url = new URL(database.url);
      url.port = new URL(proxy.url).port;
      try {
        const tx = await transactions(1, { url: url.href });
        const statuses: string[] = [];
        const thrown = await thrownBy(
          tx.run(async (t) => {
            await add(tx, 'perhaps');
            t.onCompletion((status) => statuses.push(status));
            t.onAfterRollback(() => statuses.push('told of a rollback'));
            t.onBeforeCommit(() =>
              proxy.poison({ toxic: { kind: 'reset', afterBytes: 0 }, direction: 'response' }),
            );
          }),
        );
        expect(thrown).toMatchObject({ code: 'commit_unknown' });
        expect(statuses).toEqual(['unknown']);
        // The server had heard it.
        await vi.waitFor(() => expectStored('perhaps'));
      } finally {
        await proxy.close();
      }
    });

    test('12. a BEGIN that fails gives the connection back', async ({ skip }) => {
      if (raw === undefined) skip('no way to run a statement');
      const tx = await transactions(1, {
        wrapped: (driver) => {
          let isFirst = true;
          const begin: typeof driver.dialect.begin = (options) => {
            const right = driver.dialect.begin(options);
            const sent = isFirst ? ['begin nonsense', ...right] : right;
            isFirst = false;
            return sent;
          };
          return Object.create(driver, { dialect: { value: { ...driver.dialect, begin } } }) as typeof driver;
        },
      });
      await thrownBy(tx.run(() => add(tx, 'first')));
      await tx.run(() => add(tx, 'second'));
      await expectStored('second');
    });

    describe('13. a transaction that lost against another one is tried again by its owner only', () => {
      const retry = { attemptsMax: 5, baseMs: 1 };

      test('a deadlock', async ({ skip }) => {
        if (oneConnection || raw === undefined) return skip('needs two connections and SQL');
        const tx = await transactions(2);
        await tx.run(() => Promise.all([add(tx, 'a'), add(tx, 'b')]));
        const both = barrierOf(2);
        const told: string[] = [];
        let attempts = 0;
        const lock = (first: string, second: string) =>
          tx.run(
            async (t) => {
              const isFirst = ++attempts <= 2;
              t.onAfterCommit(() => told.push(`${first}${second}`));
              await raw(t.client, touch(first));
              if (isFirst) await both();
              // Asking an inner scope for retries changes nothing: it cannot begin the transaction again.
              await tx.run(() => raw(t.client, touch(second)), { retry });
            },
            { retry },
          );
        await Promise.all([lock('a', 'b'), lock('b', 'a')]);
        // Seldom more than 3: PostgreSQL may let the loser's next attempt have the row that the winner waits for.
        expect(attempts).toBeGreaterThan(2);
        expect(told.toSorted()).toEqual(['ab', 'ba']);
      });

      test('a serialization failure', async ({ skip }) => {
        if (kind !== 'postgres') skip('only PostgreSQL says so instead of waiting');
        const tx = await transactions(2);
        const both = barrierOf(2);
        let attempts = 0;
        const skewed = (value: string) =>
          tx.run(
            async () => {
              const isFirst = ++attempts <= 2;
              const seen = await subject.values(tx.db);
              if (isFirst) await both();
              await add(tx, `${value} after ${seen.length}`);
            },
            { isolation: 'serializable', retry },
          );
        await Promise.all([skewed('a'), skewed('b')]);
        expect(attempts).toBe(3);
        const stored = await database.stored();
        expect(stored.map((value) => value.slice(-1)).toSorted()).toEqual(['0', '1']);
      });

      test('what may be committed is never tried again', async () => {
        const tx = await transactions();
        let attempts = 0;
        const deadlock = Object.assign(new Error('deadlock'), { code: '40P01', errno: 1213, errcode: 5 });
        const thrown = await thrownBy(
          tx.run(
            async (t) => {
              attempts++;
              await add(tx, 'row');
              t.onAfterCommit(() => Promise.reject(deadlock));
            },
            { retry },
          ),
        );
        expect(thrown).toBeInstanceOf(PostCommitError);
        expect(attempts).toBe(1);
      });
    });

    describe('14. what MySQL ends by itself', () => {
      test('a deadlock in a savepoint ends the whole transaction, and nothing goes on in it', async ({
        skip,
      }) => {
        if (kind !== 'mariadb' || raw === undefined) return skip('only MySQL and MariaDB do that');
        const tx = await transactions(2);
        await tx.run(() => Promise.all([add(tx, 'a'), add(tx, 'b')]));
        const both = barrierOf(2);
        const lock = (first: string, second: string) =>
          tx.run(async (t) => {
            await add(tx, `by ${first}`);
            await raw(t.client, touch(first));
            await both();
            const inner = await outcomeOf(
              tx.run(() => raw(t.client, touch(second)), { propagation: 'nested' }),
            );
            const after = await outcomeOf(add(tx, `after ${first}`));
            return { inner, after };
          });
        const outcomes = await Promise.allSettled([lock('a', 'b'), lock('b', 'a')]);
        const victim = outcomes.find((outcome) => outcome.status === 'rejected');
        expect(victim?.reason).toMatchObject({
          code: 'unexpected_rollback',
          cause: { code: 'transaction_aborted' },
        });
        // The other one is whole.
        expect(await database.stored()).toHaveLength(4);
      });

      test('DDL commits: said at once, and what came before it is committed', async ({ skip }) => {
        if (kind !== 'mariadb' || raw === undefined) return skip('only MySQL and MariaDB do that');
        const tx = await transactions(1);
        const statuses: string[] = [];
        const ran = tx.run(async (t) => {
          t.onCompletion((status) => statuses.push(status));
          await add(tx, 'before');
          expect(await outcomeOf(Promise.resolve(raw(t.client, 'create or replace table ddl (a int)')))).toBe(
            'implicit_commit',
          );
          expect(await outcomeOf(add(tx, 'after'))).toBe('transaction_aborted');
        });
        expect(await outcomeOf(ran)).toBe('implicit_commit');
        expect(statuses).toEqual(['unknown']);
        await expectStored('before');
      });

      test('a lock that is waited for too long undoes only its statement', async ({ skip }) => {
        if (kind !== 'mariadb' || raw === undefined) return skip('only MySQL and MariaDB do that');
        const tx = await transactions(2);
        await tx.run(() => add(tx, 'held'));
        await tx.run(async (holder) => {
          await raw(holder.client, touch('held'));
          await tx.run(
            async (t) => {
              await add(tx, 'row');
              await raw(t.client, 'set innodb_lock_wait_timeout = 1');
              const thrown = await thrownBy(Promise.resolve(raw(t.client, touch('held'))));
              // Some libraries wrap it.
              expect(messageOf(thrown.cause ?? thrown)).toMatch(/lock wait timeout/i);
            },
            { propagation: 'requiresNew' },
          );
        });
        await expectStored('held', 'row');
      });
    });

    test('15. options that conflict with the transaction that is there are errors, not ignored', async () => {
      const tx = await transactions();
      const inside = (options: object) => tx.run(() => add(tx, 'row'), options);
      const outcomes = await tx.run(async () => [await outcomeOf(inside({ isolation: 'serializable' }))]);
      expect(outcomes).toEqual(['option_conflict']);
      const readOnly = tx.run(() => outcomeOf(inside({ readOnly: false })), { readOnly: true });
      expect(await readOnly).toBe('option_conflict');
      const agreeing = tx.run(() => inside({ isolation: 'serializable' }), { isolation: 'serializable' });
      expect(await outcomeOf(agreeing)).toBe('returns undefined');
      await expectStored('row');
    });

    test('15. a read-only transaction does not write', async () => {
      const tx = await transactions(1);
      await thrownBy(tx.run(() => add(tx, 'row'), { readOnly: true }));
      await tx.run(() => add(tx, 'written'));
      await expectStored('written');
    });

    test.each(['timeoutMs', 'signal'] as const)(
      '16. %s cancels on the server, not only here',
      async (limit) => {
        const { slowSql } = database;
        if (slowSql === undefined || raw === undefined) return;
        const tx = await transactions(1);
        const abort = new AbortController();
        const ran = tx.run((t) => raw(t.client, slowSql), {
          ...(limit === 'signal' ? { signal: abort.signal } : { timeoutMs: 150 }),
          label: 'slow',
        });
        const outcome = outcomeOf(ran);
        await vi.waitFor(async () => expect(await database.busyConnections()).toBe(1));
        if (limit === 'signal') abort.abort();
        expect(await outcome).toBe(limit === 'signal' ? 'transaction_cancelled' : 'transaction_timeout');
        await vi.waitFor(async () => expect(await database.busyConnections()).toBe(0));
        // The connection is whole, or another one.
        await tx.run(() => add(tx, 'next'));
        await expectStored('next');
      },
    );

    test('16. a function that never returns is ended by its timeout, and what it does later is refused', async () => {
      const tx = await transactions(1);
      // Connecting is not to be waited for.
      await tx.run(() => add(tx, 'before'));
      const goOn = Promise.withResolvers<undefined>();
      let late: Promise<unknown> | undefined;
      const ran = tx.run(
        async () => {
          await add(tx, 'in time');
          await goOn.promise;
          late = add(tx, 'late');
          late.catch(() => 'seen below');
          await late;
        },
        { timeoutMs: 250 },
      );
      expect(await outcomeOf(ran)).toBe('transaction_timeout');
      goOn.resolve(undefined);
      await turn();
      expect(await thrownBy(Promise.resolve(late))).toMatchObject({ code: 'scope_ended' });
      await tx.run(() => add(tx, 'next'));
      await expectStored('before', 'next');
    });

    test('16. an aborted signal begins nothing', async () => {
      const tx = await transactions();
      const work = vi.fn<() => void>();
      expect(await outcomeOf(tx.run(work, { signal: AbortSignal.abort() }))).toBe('transaction_cancelled');
      expect(work).not.toHaveBeenCalled();
    });

    test('17. a transaction open for long is told of, with the tree of its scopes', async () => {
      const tx = await transactions(1, { warnAfterMs: 50 });
      // What a library does at its first use is not to be waited for.
      await tx.run(() => add(tx, 'before'));
      warnings.length = 0;
      await tx.run(
        async () => {
          await add(tx, 'row');
          await tx.run(() => vi.waitFor(() => expect(warnings).toHaveLength(1)), {
            propagation: 'nested',
            label: 'sleeper',
          });
        },
        { label: 'order' },
      );
      expect(warnings[0]?.message).toMatch(
        /order is open for 50 ms:\norder \(owner, active, \d+ ms, has a connection\) begun at .*must-have\.ts.*\n {2}sleeper \(nested, active/,
      );
      expect(tx.describe()).toBe('');
    });

    test('18. two data sources are independent: outer A, inner B, A again', async ({ skip }) => {
      if (oneConnection) skip('two handles of one file wait for each other');
      const a = await transactions(1);
      const b = await transactions(1);
      await thrownBy(
        a.run(async () => {
          await add(a, 'a1');
          await b.run(async () => {
            await add(b, 'b');
            await a.run(() => add(a, 'a2'));
          });
          throw new Error('a fails');
        }),
      );
      await expectStored('b');
    });

    test('19. session state does not leak to the next borrower', async ({ skip }) => {
      const set = {
        postgres: "set application_name = 'mine'",
        mariadb: "set @mine = 'mine'",
        sqlite: undefined,
      }[kind];
      const ask = { postgres: 'show application_name', mariadb: 'select @mine as v', sqlite: undefined }[
        kind
      ];
      if (set === undefined || ask === undefined || raw === undefined) return skip('a file has no sessions');
      const tx = await transactions(1);
      await tx.run((t) => raw(t.client, set));
      const answer = JSON.stringify(await tx.run((t) => raw(t.client, ask)));
      expect(answer).not.toContain('"mine"');
    });

    test('20. parallel branches of one request, one calls setRollbackOnly: all roll back, and the owner is told', async () => {
      const tx = await transactions();
      const thrown = await thrownBy(
        tx.run(() =>
          Promise.all([
            tx.run(() => add(tx, 'A')),
            tx.run(
              async (t) => {
                await add(tx, 'B');
                t.setRollbackOnly(new Error('B does not like it'));
              },
              { label: 'B' },
            ),
          ]),
        ),
      );
      expect(thrown).toBeInstanceOf(UnexpectedRollback);
      expect(thrown.cause).toMatchObject({ message: 'B does not like it' });
      await expectStored();
    });

    test('SQL beside the handle is part of the transaction, whatever the handle is', async () => {
      const tx = await transactions();
      const one = kind === 'postgres' ? '$1' : '?';
      await tx.run(async (t) => {
        await add(tx, 'by the handle');
        expect(await t.query(`insert into note values (${one})`, ['by query'])).toEqual({
          rows: [],
          affected: 1,
        });
        const { rows } = await t.query(`select value from note where value like ${one} order by value`, [
          'by%',
        ]);
        expect(rows).toMatchObject([{ value: 'by query' }, { value: 'by the handle' }]);
      });
      await thrownBy(
        tx.run(async (t) => {
          await t.query(`insert into note values (${one})`, ['rolled back']);
          throw new Error('rolls back');
        }),
      );
      await expectStored('by query', 'by the handle');
    });

    test('a client is known by its transaction, and one that was never ours is refused', async () => {
      const tx = await transactions();
      const other = await transactions();
      let ended: Client | undefined;
      await tx.run(
        async (t) => {
          ended = t.client;
          expect(tx.of(t.client).label).toBe('outer');
          expect(tx.of(tx.db).label).toBe('outer');
          expect(await outcomeOf(soon(() => other.of(t.client)))).toBe('foreign_client');
        },
        { label: 'outer' },
      );
      expect(await outcomeOf(soon(() => tx.of(ended as Client)))).toBe('foreign_client');
      expect(await outcomeOf(soon(() => tx.of(tx.db)))).toBe('transaction_required');
    });

    test('20. the owner that asks for a rollback itself is not surprised by it', async () => {
      const tx = await transactions();
      const ran = tx.run(async (t) => {
        await add(tx, 'row');
        t.setRollbackOnly();
        return 'dry run';
      });
      expect(await ran).toBe('dry run');
      await expectStored();
    });
  });
}

interface Combination {
  readonly propagation: Propagation;
  readonly within: boolean;
  readonly ending: 'returns' | 'throws' | 'throws, and is caught';
}

/** Spring's table, said without code. */
function expectation(
  { propagation, within, ending }: Combination,
  oneConnection: boolean,
): { readonly outcome: string; readonly stored: string[] } {
  const effect = effectOf(propagation, within, oneConnection);
  const fails = 'error' in effect ? effect.error : ending === 'returns' ? undefined : 'inner failed';
  const isCaught = ending === 'throws, and is caught';
  const alone =
    !('error' in effect) && (effect.inner === 'alone' || (effect.inner === 'own' && fails === undefined));
  if (!within) {
    const outcome = fails === undefined || isCaught ? 'returns undefined' : fails;
    const isStored = !('error' in effect) && (effect.inner === 'alone' || fails === undefined);
    return { outcome, stored: isStored ? ['inner'] : [] };
  }
  const innerAlone = alone ? ['inner'] : [];
  if (fails === undefined) {
    return { outcome: 'returns undefined', stored: ['outer', 'inner'] };
  }
  if (!isCaught) return { outcome: fails, stored: innerAlone };
  const isPart = !('error' in effect) && effect.inner === 'part';
  return isPart
    ? { outcome: 'unexpected_rollback', stored: [] }
    : { outcome: 'returns undefined', stored: ['outer', ...innerAlone] };
}

/** `part` of the outer one, with a `savepoint`, `own` transaction, or each statement `alone`. */
type Effect = { readonly inner: 'part' | 'savepoint' | 'own' | 'alone' } | { readonly error: string };

function effectOf(propagation: Propagation, within: boolean, oneConnection: boolean): Effect {
  switch (propagation) {
    case 'required':
      return { inner: within ? 'part' : 'own' };
    case 'requiresNew':
      return within && oneConnection ? { error: 'pool_exhausted' } : { inner: 'own' };
    case 'nested':
      return { inner: within ? 'savepoint' : 'own' };
    case 'supports':
      return { inner: within ? 'part' : 'alone' };
    case 'mandatory':
      return within ? { inner: 'part' } : { error: 'transaction_required' };
    case 'notSupported':
      return within && oneConnection ? { error: 'scope_busy' } : { inner: 'alone' };
    case 'never':
      return within ? { error: 'transaction_forbidden' } : { inner: 'alone' };
  }
}

function runAny<Client>(
  tx: Awaited<ReturnType<ReturnType<typeof worldOf<Client>>['transactions']>>,
  work: () => Promise<void>,
  propagation: Propagation,
): Promise<void> {
  switch (propagation) {
    case 'supports':
    case 'notSupported':
    case 'never':
      return tx.run(work, { propagation });
    case 'required':
    case 'requiresNew':
    case 'nested':
    case 'mandatory':
      return tx.run(work, { propagation });
  }
}

async function soon<T>(work: () => T): Promise<T> {
  return work();
}

/** Locks the row. */
function touch(value: string): string {
  return `update note set value = '${value}' where value = '${value}'`;
}

/** As a timer or a lazily made singleton does it. */
function bindToContext<T>(work: () => T): () => T {
  return AsyncResource.bind(work);
}

async function viaEmitter(work: () => Promise<void>): Promise<void> {
  const emitter = new EventEmitter();
  const ran: Promise<void>[] = [];
  emitter.once('event', () => ran.push(work()));
  emitter.emit('event');
  await Promise.all(ran);
}

async function viaThenable(work: () => Promise<void>): Promise<void> {
  await thenable(work);
}

/** Begins its work when it is awaited, as the queries of Knex and Drizzle do. */
function thenable(work: () => Promise<void>): PromiseLike<void> {
  // eslint-disable-next-line unicorn/no-thenable -- this is what it is about
  return { then: (...then) => work().then(...then) };
}

function viaMicrotask(work: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => queueMicrotask(() => void work().then(resolve, reject)));
}

function viaTimer(work: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => void setTimeout(() => void work().then(resolve, reject), 1));
}
