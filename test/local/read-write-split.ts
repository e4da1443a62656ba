// What reads on replicas promise, as facts about one driver on a real primary with a real replica.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { ReadToken } from '../../lib/src/local/read-token.ts';
import type { ReplicaOptions, Transactions, TransactionsOptions } from '../../lib/src/local/transactions.ts';
import type { SettleError } from '../../lib/src/util/errors.ts';
import { FaultProxy } from '../crash/fault-proxy.ts';
import type { ReplicatedDatabase } from '../services/replica.ts';
import type { OpenDriver } from './subject.ts';
import { outcomeOf, thrownBy } from './world.ts';

export interface SplitSubject<Client> {
  readonly name: string;
  readonly database: ReplicatedDatabase;
  open(url: string, connectionsMax: number): OpenDriver<Client>;
  insert(client: Client, value: string): Promise<unknown>;
  values(client: Client): Promise<string[]>;
  raw(client: Client, sql: string): Promise<unknown>;
  isReplica(client: Client): Promise<boolean>;
  /** Ends every connection of the driver to the replica, as that server does when it goes down. */
  killReaders(): Promise<void>;
  readonly selectForUpdate: string;
  /** Why a server that was cut off must not come back while the process lives. */
  readonly neverBack?: string;
  /** Of a primary that is none of ours, which came less far. */
  readonly foreignToken: ReadToken;
  /** A primary that is not there yet. */
  readonly futureToken: ReadToken;
}

/** A port nobody listens on. */
const nowhere = 'nobody://127.0.0.1:9/none';

export function readWriteSplit<Client>(subject: SplitSubject<Client>): void {
  const { database } = subject;

  describe(`reads of ${subject.name}`, () => {
    let primary: OpenDriver<Client>;
    let replica: OpenDriver<Client>;
    const warnings: SettleError[] = [];
    let values = 0;

    beforeAll(() => {
      primary = subject.open(database.primary, 4);
      replica = subject.open(database.replica, 4);
    });
    afterAll(async () => {
      await primary.close();
      await replica.close();
    });
    beforeEach(() => {
      warnings.length = 0;
    });
    afterEach(() => database.resume());

    function split(
      options: TransactionsOptions & ReplicaOptions<Client> = {},
      replicas: readonly OpenDriver<Client>[] = [replica],
    ): Transactions<Client> {
      return createTransactions(primary.driver, {
        replicas: replicas.map(({ driver }) => driver),
        onWarning: (warning) => warnings.push(warning),
        ...options,
      });
    }

    const newValue = () => `${subject.name} ${++values}`;
    const insertNew = (t: { readonly client: Client }) => subject.insert(t.client, newValue());

    /** Writes one more value, and gives back what it was with the token. */
    async function written(tx: Transactions<Client>): Promise<{ value: string; token: ReadToken }> {
      const value = newValue();
      const given = Promise.withResolvers<ReadToken>();
      await tx.run((t) => subject.insert(t.client, value), { onToken: given.resolve });
      return { value, token: await given.promise };
    }

    const seen = async (client: Client) => ({
      values: await subject.values(client),
      onReplica: await subject.isReplica(client),
    });
    const readsAll = (t: { readonly client: Client }) => seen(t.client);
    const isReplica = (t: { readonly client: Client }) => subject.isReplica(t.client);

    test('200 writes, each read after its token: none is missing, and the replica answers', async () => {
      const tx = split();
      let onReplica = 0;
      for (let n = 0; n < 200; n++) {
        const { value, token } = await written(tx);
        const read = await tx.read(readsAll, { reads: { after: token } });
        expect(read.values).toContain(value);
        if (read.onReplica) onReplica++;
      }
      expect(onReplica).toBeGreaterThan(190);
    });

    test('20 at a time, beside writers that do not want a token: none is missing', async () => {
      const tx = split();
      const noise = new AbortController();
      const writers = [1, 2].map(async () => {
        while (!noise.signal.aborted) await tx.run(insertNew);
      });
      for (let round = 0; round < 10; round++) {
        const checks = Array.from({ length: 20 }, async () => {
          const { value, token } = await written(tx);
          return (await tx.read(readsAll, { reads: { after: token } })).values.includes(value);
        });
        expect(await Promise.all(checks)).not.toContain(false);
      }
      noise.abort();
      await Promise.all(writers);
    });

    test('while the replica stands still, eventual reads miss what was written, and after its token it is there', async () => {
      const tx = split();
      const before = await written(tx);
      await database.caughtUp();
      await database.pause();
      const { value, token } = await written(tx);
      const eventual = await tx.read(readsAll, { reads: 'eventual' });
      expect(eventual).toMatchObject({ onReplica: true });
      expect(eventual.values).toContain(before.value);
      expect(eventual.values).not.toContain(value);
      const after = await tx.read(readsAll, { reads: { after: token }, waitMs: 50 });
      expect(after).toMatchObject({ onReplica: false });
      expect(after.values).toContain(value);
      expect(warnings).toMatchObject([{ code: 'replica_skipped' }]);
      // What it has already, it may still be asked for.
      expect(await tx.read(isReplica, { reads: { after: before.token } })).toBe(true);
      await database.resume();
      await database.caughtUp();
      const resumed = await tx.read(readsAll, { reads: { after: token } });
      expect(resumed).toMatchObject({ onReplica: true });
      expect(resumed.values).toContain(value);
    });

    test('a read waits for a replica that comes in time', async () => {
      const tx = split();
      await database.pause();
      const { value, token } = await written(tx);
      const read = tx.read(readsAll, { reads: { after: token }, waitMs: 20_000 });
      await database.resume();
      expect(await read).toMatchObject({ onReplica: true });
      expect((await read).values).toContain(value);
      expect(warnings).toEqual([]);
    });

    test('a snapshot on the replica is taken after the wait, not before', async () => {
      const tx = split();
      await database.pause();
      const { value, token } = await written(tx);
      const options = { reads: { after: token }, waitMs: 20_000, isolation: 'repeatable-read' } as const;
      const read = tx.read(readsAll, options);
      await database.resume();
      expect((await read).values).toContain(value);
      expect(await read).toMatchObject({ onReplica: true });
    });

    test('a replica that was waited for in vain is then asked, and not waited for', async () => {
      const tx = split({ replicaRestMs: 60_000 });
      await database.pause();
      const { token } = await written(tx);
      const reads = { after: token };
      await tx.read(isReplica, { reads, waitMs: 20 });
      const beganMs = performance.now();
      for (let n = 0; n < 10; n++) expect(await tx.read(isReplica, { reads, waitMs: 10_000 })).toBe(false);
      expect(performance.now() - beganMs).toBeLessThan(5_000);
      expect(warnings).toHaveLength(1);
    });

    test('nothing said, strong, serializable and for update: the primary reads', async () => {
      const tx = split();
      expect(await tx.read(isReplica)).toBe(false);
      expect(await tx.read(isReplica, { reads: 'strong' })).toBe(false);
      expect(await tx.read(isReplica, { reads: 'eventual', isolation: 'serializable' })).toBe(false);
      const serializable = split({ defaults: { isolation: 'serializable' } });
      expect(await serializable.read(isReplica, { reads: 'eventual' })).toBe(false);
      const locked = tx.read(
        async (t) => {
          await subject.raw(t.client, subject.selectForUpdate);
          return await isReplica(t);
        },
        { reads: 'eventual', forUpdate: true },
      );
      expect(await locked).toBe(false);
      expect(warnings).toEqual([]);
    });

    test('without replicas the primary reads, whatever is asked for', async () => {
      const tx = split({}, []);
      const { token } = await written(tx);
      expect(await tx.read(isReplica, { reads: 'eventual' })).toBe(false);
      expect(await tx.read(isReplica, { reads: { after: token } })).toBe(false);
    });

    test('within a transaction a read takes part in it, and sees its writes', async () => {
      const tx = split();
      await tx.run(async (t) => {
        const value = newValue();
        await subject.insert(t.client, value);
        const read = await tx.read(readsAll, { reads: 'eventual' });
        expect(read).toMatchObject({ onReplica: false });
        expect(read.values).toContain(value);
        t.setRollbackOnly();
      });
    });

    test('within a read on a replica everything takes part in it, and writes are refused', async () => {
      const tx = split();
      const { token } = await written(tx);
      const reads = { after: token };
      await tx.read(
        async () => {
          expect(await tx.run(isReplica)).toBe(true);
          expect(await tx.run(isReplica, { propagation: 'nested' })).toBe(true);
          expect(await tx.read(isReplica)).toBe(true);
          expect(await tx.read(isReplica, { reads: 'eventual' })).toBe(true);
          expect(await tx.read(isReplica, { reads })).toBe(true);
          expect(await subject.isReplica(tx.db)).toBe(true);
          for (const asked of ['strong', { after: subject.futureToken }] as const) {
            expect(await outcomeOf(tx.read(isReplica, { reads: asked }))).toBe('option_conflict');
          }
          expect(await outcomeOf(tx.run(isReplica, { readOnly: false }))).toBe('option_conflict');
          expect(await outcomeOf(tx.read(isReplica, { forUpdate: true }))).toBe('option_conflict');
          expect(await tx.run(isReplica, { propagation: 'requiresNew' })).toBe(false);
          expect(
            await tx.run(({ client }) => subject.isReplica(client), { propagation: 'notSupported' }),
          ).toBe(false);
        },
        { reads },
      );
      expect(warnings).toEqual([]);
      const writes = tx.read(() => tx.run((t) => subject.insert(t.client, 'on a replica')), {
        reads: 'eventual',
      });
      expect(await outcomeOf(writes)).toMatch(/read[- ]only/i);
      expect(warnings).toEqual([]);
    });

    test('a joined and a nested scope get the token of the whole transaction, one that is rolled back none', async () => {
      const tx = split();
      const tokens: string[] = [];
      const noting = (name: string) => ({ onToken: (token: ReadToken) => tokens.push(`${name} ${token}`) });
      await tx.run(async () => {
        await tx.run(insertNew, noting('joined'));
        await tx.run(insertNew, { ...noting('nested'), propagation: 'nested' });
        await outcomeOf(
          tx.run(() => Promise.reject(new Error('undone')), { ...noting('undone'), propagation: 'nested' }),
        );
        expect(tokens).toEqual([]);
      }, noting('owner'));
      expect(tokens.map((line) => line.split(' ')[0])).toEqual(['owner', 'joined', 'nested']);
      expect(new Set(tokens.map((line) => line.split(' ')[1])).size).toBe(1);
      const failed = tx.run(
        (t) => insertNew(t).then(() => Promise.reject(new Error('no'))),
        noting('failed'),
      );
      await outcomeOf(failed);
      expect(tokens).toHaveLength(3);
    });

    test('a token is there before hooks after the commit, and one that cannot be used is told of', async () => {
      const tx = split();
      const order: string[] = [];
      const ran = tx.run(
        async (t) => {
          t.onAfterCommit(() => order.push('hook'));
          await insertNew(t);
          return 'result';
        },
        {
          onToken: () => {
            order.push('token');
            throw new Error('the cookie jar is closed');
          },
        },
      );
      expect(await thrownBy(ran)).toMatchObject({ code: 'post_commit_failed', result: 'result' });
      expect(order).toEqual(['token', 'hook']);
    });

    test('a transaction that wrote nothing has a token for what it saw, one that sent nothing has none', async () => {
      const tx = split();
      await written(tx);
      await database.caughtUp();
      await database.pause();
      const given = Promise.withResolvers<ReadToken>();
      const saw = await tx.run(
        async (t) => {
          // It has its connection before another one writes what it sees.
          await isReplica(t);
          const { value } = await tx.exit(() => written(tx));
          expect(await subject.values(t.client)).toContain(value);
          return value;
        },
        { readOnly: true, isolation: 'read-committed', onToken: given.resolve },
      );
      const read = await tx.read(readsAll, { reads: { after: await given.promise }, waitMs: 20 });
      expect(read.values).toContain(saw);
      await database.resume();
      const none: string[] = [];
      await tx.run(() => {}, { onToken: (token) => none.push(token) });
      await tx.read(() => tx.run(isReplica, { onToken: (token) => none.push(token) }), { reads: 'eventual' });
      expect(none).toEqual([]);
    });

    test('outside of every transaction there is no token', async () => {
      const tx = split();
      // @ts-expect-error -- types say so, too
      const ran = tx.run(() => {}, { propagation: 'supports', onToken: () => {} });
      expect(await outcomeOf(ran)).toBe('option_conflict');
    });

    test('what is no token of this database is refused, whatever it says', async () => {
      const tx = split();
      const garbage = ['', "0/0'; drop table note; --", 'x'.repeat(100_000), 7, undefined, null];
      for (const after of garbage) {
        const read = tx.read(isReplica, { reads: { after: after as ReadToken } });
        expect(await outcomeOf(read)).toBe('invalid_request');
      }
      expect(await outcomeOf(tx.read(isReplica, { reads: 'fresh' as 'strong' }))).toBe('config_invalid');
      for (const waitMs of [0, -1, Number.NaN, Infinity]) {
        expect(await outcomeOf(tx.read(isReplica, { reads: 'eventual', waitMs }))).toBe('config_invalid');
      }
    });

    test('a token of another primary is for the primary alone', async () => {
      const tx = split();
      await written(tx);
      await database.caughtUp();
      expect(await tx.read(isReplica, { reads: { after: subject.foreignToken } })).toBe(false);
      expect(warnings).toMatchObject([{ code: 'replica_skipped' }]);
      expect(warnings[0]?.message).toMatch(/follows another primary/);
    });

    test('a token of the future waits as long as it may, and then the primary reads', async () => {
      const tx = split();
      const beganMs = performance.now();
      expect(await tx.read(isReplica, { reads: { after: subject.futureToken }, waitMs: 300 })).toBe(false);
      expect(performance.now() - beganMs).toBeGreaterThan(290);
      expect(warnings[0]?.message).toMatch(/did not come in time/);
    });

    test('connections of a replica that end in the middle: the function runs again, on the primary', async () => {
      const tx = split();
      const runs: boolean[] = [];
      const read = tx.read(
        async (t) => {
          runs.push(await isReplica(t));
          if (runs.length === 1) await subject.killReaders();
          return await isReplica(t);
        },
        { reads: 'eventual' },
      );
      expect(await read).toBe(false);
      expect(runs).toEqual([true, false]);
      expect(warnings).toMatchObject([{ code: 'replica_skipped' }]);
      // It is left alone for a while.
      expect(await tx.read(isReplica, { reads: 'eventual' })).toBe(false);
    });

    test('an error of the function is its own, also when the replica could not', async () => {
      const tx = split();
      let runs = 0;
      const read = tx.read(
        async (t) => {
          runs++;
          await isReplica(t);
          throw new Error('not found');
        },
        { reads: 'eventual' },
      );
      expect(await outcomeOf(read)).toBe('not found');
      const inner = tx.read(
        async () => {
          runs++;
          // Lost on the primary, and so no reason to begin again there.
          await tx.run(
            async (t) => {
              await subject.raw(t.client, 'select 1');
              throw Object.assign(new Error('the connection is lost'), { code: 'ECONNRESET' });
            },
            { propagation: 'requiresNew' },
          );
        },
        { reads: 'eventual' },
      );
      expect(await outcomeOf(inner)).toBe('the connection is lost');
      expect(runs).toBe(2);
      expect(warnings).toEqual([]);
    });

    test('a replica that is down is skipped: for the next one, and for the primary', async () => {
      const down = replicaAt(subject, nowhere);
      const both = split({}, [down, replica]);
      const onReplica: boolean[] = [];
      for (let n = 0; n < 5; n++) onReplica.push(await both.read(isReplica, { reads: 'eventual' }));
      // Some pools say nothing about it, so that the first read waits until there is no time left for the next replica.
      expect(onReplica.slice(1)).toEqual([true, true, true, true]);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]?.message).toMatch(/replica 1 of 2/);
      const { token } = await written(both);
      const alone = split({}, [down]);
      expect(await alone.read(isReplica, { reads: 'eventual' })).toBe(false);
      expect(await alone.read(isReplica, { reads: { after: token } })).toBe(false);
    });

    test('a replica that does not answer any more is skipped, and asked again after its rest', async ({
      skip,
    }) => {
      const { proxy, opened } = await proxied(subject);
      const tx = split({ replicaRestMs: 300 }, [opened]);
      const { token } = await written(tx);
      const reads = { after: token };
      expect(await tx.read(isReplica, { reads })).toBe(true);
      await proxy.poison({ toxic: { kind: 'blackhole' } });
      expect(await tx.read(isReplica, { reads, waitMs: 50 })).toBe(false);
      expect(warnings[0]?.message).toMatch(/no answer within|none came within/);
      if (subject.neverBack !== undefined) skip(subject.neverBack);
      await proxy.heal();
      await expect.poll(() => tx.read(isReplica, { reads })).toBe(true);
    });

    test('a pool of the replica that is held by reads is not waited for longer than waitMs', async () => {
      const tx = split({}, [replicaAt(subject, database.replica, 1)]);
      const hold = Promise.withResolvers<undefined>();
      const held = Promise.withResolvers<undefined>();
      const first = tx.read(
        async (t) => {
          await isReplica(t);
          held.resolve(undefined);
          await hold.promise;
        },
        { reads: 'eventual' },
      );
      await held.promise;
      expect(await tx.read(isReplica, { reads: 'eventual', waitMs: 20 })).toBe(false);
      hold.resolve(undefined);
      await first;
      // It did not fail, and need not rest.
      expect(await tx.read(isReplica, { reads: 'eventual' })).toBe(true);
    });

    test('a read whose time is up, or that is cancelled, while it waits: says so at once, and leaves nothing behind', async () => {
      const tx = split({}, [replicaAt(subject, database.replica, 1)]);
      await database.pause();
      const { token } = await written(tx);
      const reads = { after: token };
      const late = tx.read(isReplica, { reads, waitMs: 2_000, timeoutMs: 50 });
      expect(await outcomeOf(late)).toBe('transaction_timeout');
      const ending = new AbortController();
      const cancelled = tx.read(isReplica, { reads, waitMs: 2_000, signal: ending.signal });
      ending.abort();
      expect(await outcomeOf(cancelled)).toBe('transaction_cancelled');
      expect(warnings).toEqual([]);
      await database.resume();
      expect(await tx.read(isReplica, { reads, waitMs: 10_000 })).toBe(true);
    });

    test('reads are spread over the replicas', async () => {
      const first = split({}, [replica, replicaAt(subject, nowhere)]);
      // The second one's turn comes with the second read.
      await first.read(isReplica, { reads: 'eventual' });
      expect(warnings).toEqual([]);
      await first.read(isReplica, { reads: 'eventual' });
      expect(warnings).toHaveLength(1);
    });
  });
}

/** The replica, at another address. */
function replicaAt<Client>(
  subject: SplitSubject<Client>,
  url: string,
  connectionsMax = 4,
): OpenDriver<Client> {
  const address = new URL(subject.database.replica);
  address.port = new URL(url).port;
  const opened = subject.open(address.href, connectionsMax);
  onTestFinished(() => opened.close());
  return opened;
}

async function proxied<Client>(
  subject: SplitSubject<Client>,
): Promise<{ readonly proxy: FaultProxy; readonly opened: OpenDriver<Client> }> {
  const proxy = await FaultProxy.start(subject.database.replica, 1);
  onTestFinished(() => proxy.close());
  return { proxy, opened: replicaAt(subject, proxy.url) };
}
