// "What happens in Node today": the twelve cases in which libraries of the field lose data, hang, or say the wrong thing,
// and what happens here.
import { EventEmitter } from 'node:events';
import { describe, expect, test } from 'vitest';
import { PostCommitError, UnexpectedRollback } from '../../lib/src/local/errors.ts';
import type { Subject } from './subject.ts';
import { barrierOf, outcomeOf, thrownBy, turn, worldOf } from './world.ts';

export function twelveCases<Client>(subject: Subject<Client>): void {
  const { kind } = subject.database;
  // One handle is one connection: a transaction of its own inside another one could never begin.
  const oneConnection = kind === 'sqlite';

  describe('the twelve cases', () => {
    const { transactions, add, insert, expectStored } = worldOf(subject);

    test('1. inner REQUIRED throws, outer catches, returns: everything rolls back, and the caller is told', async () => {
      const tx = await transactions();
      const inner = new Error('inner failed');
      const thrown = await thrownBy(
        tx.run(async () => {
          await add(tx, 'outer');
          await tx.run(() => Promise.reject(inner), { label: 'inner' }).catch(() => 'caught');
          await add(tx, 'after');
          return 'looks fine';
        }),
      );
      expect(thrown).toBeInstanceOf(UnexpectedRollback);
      expect(thrown.cause).toBe(inner);
      await expectStored();
    });

    test('2. inner SQL error caught inside a tx, outer returns normally: never a success with nothing stored', async () => {
      const tx = await transactions();
      await tx.run(() => add(tx, 'taken'));
      let failure: unknown;
      const ran = tx.run(async () => {
        await add(tx, 'before');
        await add(tx, 'taken').catch((error: unknown) => {
          failure = error;
        });
      });
      // Elsewhere only the statement is undone, and what else was done is there.
      const [outcome, ...stored] = kind === 'postgres' ? ['unexpected_rollback'] : ['returns', 'before'];
      expect(await outcomeOf(ran)).toMatch(outcome);
      expect(failure).toBeInstanceOf(Error);
      await expectStored('taken', ...stored);
    });

    test('3. Promise.all of two sibling NESTED, B fails: the rows of A are stored', async () => {
      const tx = await transactions();
      await tx.run(async () => {
        const siblings = await Promise.allSettled([
          tx.run(
            async () => {
              await add(tx, 'A1');
              await turn();
              await add(tx, 'A2');
            },
            { propagation: 'nested', label: 'A' },
          ),
          tx.run(
            async () => {
              await add(tx, 'B1');
              await turn();
              throw new Error('B');
            },
            { propagation: 'nested', label: 'B' },
          ),
        ]);
        expect(siblings.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
      });
      await expectStored('A1', 'A2');
    });

    test('4. NESTED then outer throws: the nested row is gone, too', async () => {
      const tx = await transactions();
      const outer = new Error('outer');
      const thrown = await thrownBy(
        tx.run(async () => {
          await tx.run(() => add(tx, 'nested'), { propagation: 'nested' });
          throw outer;
        }),
      );
      expect(thrown).toBe(outer);
      await expectStored();
    });

    test('5. parallel REQUIRES_NEW inside an outer tx: each has a connection of its own', async () => {
      const tx = await transactions(3);
      const ran = tx.run(async () => {
        await add(tx, 'outer');
        const own = (name: string, fails: boolean) =>
          tx.run(
            async () => {
              for (let n = 1; n <= 3; n++) {
                await add(tx, `${name}${n}`);
                await turn();
              }
              if (fails) throw new Error(name);
            },
            { propagation: 'requiresNew', label: name },
          );
        return await Promise.all([own('A', false), own('B', true)].map(outcomeOf));
      });
      const siblings = await ran;
      expect(siblings).toEqual(
        oneConnection ? ['pool_exhausted', 'pool_exhausted'] : ['returns undefined', 'B'],
      );
      await expectStored('outer', ...(oneConnection ? [] : ['A1', 'A2', 'A3']));
    });

    test('6. pool max 1 + REQUIRES_NEW: refused at once, and the message says who holds the pool', async () => {
      const tx = await transactions(1);
      const thrown = await thrownBy(
        tx.run(
          async () => {
            await add(tx, 'outer');
            await tx.run(() => add(tx, 'inner'), { propagation: 'requiresNew', label: 'audit' });
          },
          { label: 'order' },
        ),
      );
      expect(thrown).toMatchObject({ code: 'pool_exhausted' });
      expect(thrown.message).toMatch(
        /no connection for audit at depth 1: all of them are held by the transactions it is within.* 1 of 1 connections: order \(depth 0/,
      );
      await expectStored();
    });

    test('7. pool max 5, 5 requests each outer+REQUIRES_NEW: all succeed where one connection is reserved', async ({
      skip,
    }) => {
      if (oneConnection) skip('one handle is one connection');
      const tx = await transactions(5, { reserveForNested: 1 });
      const request = (n: number) =>
        tx.run(async () => {
          await add(tx, `outer${n}`);
          await turn();
          await tx.run(() => add(tx, `inner${n}`), { propagation: 'requiresNew' });
        });
      await Promise.all([1, 2, 3, 4, 5].map(request));
      await expectStored(...[1, 2, 3, 4, 5].flatMap((n) => [`outer${n}`, `inner${n}`]));
    });

    test('7. without a reserve, each that fails is told who holds the connections', async ({ skip }) => {
      if (oneConnection) skip('one handle is one connection');
      const tx = await transactions(2);
      const both = barrierOf(2);
      const request = (n: number) =>
        tx.run(
          async () => {
            await add(tx, `outer${n}`);
            await both();
            await tx.run(() => add(tx, `inner${n}`), {
              propagation: 'requiresNew',
              acquireTimeoutMs: 100,
              label: 'audit',
            });
          },
          { label: `request ${n}` },
        );
      const outcomes = await Promise.allSettled([request(1), request(2)]);
      const reasons: unknown[] = [];
      for (const outcome of outcomes) if (outcome.status === 'rejected') reasons.push(outcome.reason);
      for (const reason of reasons) expect(reason).toMatchObject({ code: 'pool_exhausted' });
      // The second may find that the first has just given its connection back.
      expect(reasons.map(String).join('\n')).toMatch(/2 of 2 connections: request \d .*request \d/);
    });

    test('8. un-awaited query after commit: refused, and in no other transaction', async () => {
      const tx = await transactions(1);
      const kept = await tx.run(async (t) => {
        await add(tx, 'first');
        return t.client;
      });
      await tx.run(async () => {
        await add(tx, 'second');
        expect(await thrownBy(insert(kept, 'late'))).toMatchObject({ code: 'scope_ended' });
        expect(await thrownBy(insert(kept, 'late'))).toMatchObject({
          message: expect.stringMatching(/begun at .*twelve-cases\.ts:\d+/),
        });
      });
      await expectStored('first', 'second');
    });

    test('9. Promise.all rejects early, other branch still running: nothing of it is stored', async () => {
      const tx = await transactions(1);
      const goOn = Promise.withResolvers<undefined>();
      let branch: Promise<unknown> | undefined;
      await thrownBy(
        tx.run(async () => {
          branch = (async () => {
            await add(tx, 'branch 1');
            await goOn.promise;
            await add(tx, 'branch 2');
          })();
          branch.catch(() => 'seen below');
          await Promise.all([branch, Promise.reject(new Error('early'))]);
        }),
      );
      goOn.resolve(undefined);
      expect(await thrownBy(Promise.resolve(branch))).toMatchObject({ code: 'scope_ended' });
      await expectStored();
    });

    test('10. un-awaited child / setTimeout after end: refused, and told', async () => {
      const tx = await transactions(1);
      let late: Promise<unknown> | undefined;
      await tx.run(async () => {
        await add(tx, 'in time');
        late = new Promise((resolve) => void setTimeout(resolve, 5)).then(() => add(tx, 'late'));
        late.catch(() => 'seen below');
      });
      expect(await thrownBy(Promise.resolve(late))).toMatchObject({ code: 'scope_ended' });
      expect(await thrownBy(Promise.resolve(late))).toBeInstanceOf(Error);
      await expectStored('in time');
    });

    test('10. un-awaited work is never stored in half: what shows itself too late rolls back', async ({
      skip,
    }) => {
      if (oneConnection) skip('its statements are done when they return: none is ever under way');
      const tx = await transactions(1);
      let child: Promise<unknown> | undefined;
      const outcome = await outcomeOf(
        tx.run(() => {
          child = (async () => {
            await add(tx, 'half 1');
            await add(tx, 'half 2');
          })();
          child.catch(() => 'seen below');
        }),
      );
      // A library that only begins a statement later has not begun it by now: then nothing was part of the transaction.
      expect(['unexpected_rollback', 'returns undefined']).toContain(outcome);
      expect(await thrownBy(Promise.resolve(child))).toMatchObject({ code: 'scope_ended' });
      await expectStored();
    });

    test('11. commit hook throws: the caller is told that it is committed, and goes on after all hooks', async () => {
      const tx = await transactions();
      const ran: string[] = [];
      const hook = new Error('hook');
      const thrown = await thrownBy(
        tx.run(async (t) => {
          await add(tx, 'row');
          t.onAfterCommit(() => Promise.reject(hook));
          t.onAfterCommit(async () => {
            await turn();
            ran.push('second');
          });
          return 'result';
        }),
      );
      expect(thrown).toBeInstanceOf(PostCommitError);
      expect(thrown).toMatchObject({ committed: true, errors: [hook], result: 'result' });
      expect(ran).toEqual(['second']);
      await expectStored('row');
    });

    test('11. SUPPORTS without a tx has no hooks to fire', async () => {
      const tx = await transactions();
      const scope = await tx.run((scope) => scope, { propagation: 'supports' });
      expect(scope.transaction).toBeUndefined();
    });

    test('12. a listener that must not run inside the tx of whoever emits is registered with wrap and requiresNew, or exits', async () => {
      const tx = await transactions();
      const emitter = new EventEmitter();
      const seen: unknown[] = [];
      emitter.on('plain', () => seen.push(tx.current()?.label));
      emitter.on('outside', () => tx.exit(() => seen.push(tx.current()?.label)));
      await tx.run(
        () => {
          emitter.emit('plain');
          emitter.emit('outside');
        },
        { label: 'emits' },
      );
      // The ambient context follows the call, not the registration: said in the docs, and shown here.
      expect(seen).toEqual(['emits', undefined]);
    });
  });
}
