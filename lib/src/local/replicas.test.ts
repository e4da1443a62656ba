// What is decided about replicas and tokens, whatever the database: on drivers that do as they are told.
import { describe, expect, test } from 'vitest';
import { messageOf, type SettleError } from '../util/errors.ts';
import type { Clock } from './clock.ts';
import { postgresDialect, sqliteDialect, type Dialect } from './dialect.ts';
import type { Connection, Driver } from './driver.ts';
import { createTransactions } from './manager.ts';
import { parseToken } from './read-token.ts';
import type { ReplicaOptions, Transactions, TransactionsOptions } from './transactions.ts';

const token = parseToken('postgres-00000001-0000000000000001');
const after = { reads: { after: token } } as const;
const eventual = { reads: 'eventual' } as const;

/** A server that answers as it is told; what is not told is answered well. */
class Server {
  readonly name: string;
  readonly connectionsMax = 2;
  readonly dialect: Dialect;
  /** Whatever was sent to it, in order. */
  readonly log: string[] = [];
  answers: Record<string, () => unknown> = {};
  canAsk = true;
  taken = 0;

  constructor(name: string, dialect: Dialect = postgresDialect) {
    this.name = name;
    this.dialect = dialect;
  }

  get driver(): Driver<string> {
    const ask = () => this.#answer('query', () => this.name);
    return {
      name: this.name,
      dialect: this.dialect,
      connectionsMax: this.connectionsMax,
      outside: `${this.name} outside`,
      answers: 'later',
      acquire: () => this.#answer('acquire', () => this.#connection()),
      client: (gate) => ({ query: () => gate.run(ask) }) as never,
    };
  }

  async #answer<T>(what: string, well: () => T): Promise<T> {
    this.log.push(what);
    const told = this.answers[what];
    return told === undefined ? well() : ((await told()) as T);
  }

  #connection(): Connection {
    this.taken++;
    const connection: Connection = {
      execute: (sql) =>
        this.#answer(sql.split(' ')[0] ?? '', () => (sql === 'commit' ? 'COMMIT' : undefined)),
      release: (fate) => {
        this.taken--;
        this.log.push(fate);
      },
    };
    if (!this.canAsk) return connection;
    const ask = (sql: string): Promise<unknown> => {
      if (sql.includes('synchronous_commit')) return this.#answer('ask before', () => 'on');
      if (sql.includes('replay')) return this.#answer('ask replica', () => 'reached');
      return this.#answer('ask after', () => '00000001 0/1');
    };
    return { ...connection, query: (sql) => ask(sql).then((value) => ({ rows: [{ value }], affected: 1 })) };
  }
}

class ManualClock implements Clock {
  #nowMs = 0;
  #due: { readonly atMs: number; readonly callback: () => void }[] = [];
  readonly now = () => this.#nowMs;
  readonly turn = () => new Promise<void>((resolve) => void setImmediate(resolve));
  readonly schedule = (delayMs: number, callback: () => void) => {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#due.push(timer);
    return () => void (this.#due = this.#due.filter((other) => other !== timer));
  };

  /** Lets that much time pass, and whatever happens in it. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      await this.turn();
      const [next] = this.#due.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#due = this.#due.filter((other) => other !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
    }
    this.#nowMs = untilMs;
  }
}

interface Fixture {
  readonly tx: Transactions<string>;
  readonly primary: Server;
  readonly replicas: readonly Server[];
  readonly clock: ManualClock;
  readonly warnings: SettleError[];
}

function split(replicaCount: number, options: TransactionsOptions & ReplicaOptions<string> = {}): Fixture {
  const primary = new Server('primary');
  const replicas = Array.from({ length: replicaCount }, (_, n) => new Server(`replica ${n + 1}`));
  const clock = new ManualClock();
  const warnings: SettleError[] = [];
  const tx = createTransactions(primary.driver, {
    replicas: replicas.map(({ driver }) => driver),
    clock,
    onWarning: (warning) => warnings.push(warning),
    ...options,
  });
  return { tx, primary, replicas, clock, warnings };
}

/** One statement, answered with the name of its server. */
function query(t: { readonly client: string }): Promise<string> {
  return (t.client as unknown as { query(): Promise<string> }).query();
}

function refuse(error: Error): () => never {
  return () => {
    throw error;
  };
}

const conflict = Object.assign(new Error('conflict with recovery'), { code: '40001' });
const lost = Object.assign(new Error('gone'), { code: 'ECONNRESET' });

describe('reads on replicas', () => {
  test('are spread one after the other', async () => {
    const { tx } = split(3);
    const read: string[] = [];
    for (let n = 0; n < 6; n++) read.push(await tx.read(query, eventual));
    expect(read).toEqual([1, 2, 3, 1, 2, 3].map((n) => `replica ${n}`));
  });

  test('wait first, and begin after that, on the same connection', async () => {
    const { tx, replicas } = split(1);
    await tx.read(query, after);
    expect(replicas[0]?.log).toEqual(['acquire', 'ask replica', 'begin', 'query', 'commit', 'reuse']);
  });

  test('ask nothing when they need not be after anything', async () => {
    const { tx, replicas } = split(1);
    await tx.read(query, eventual);
    expect(replicas[0]?.log).toEqual(['acquire', 'begin', 'query', 'commit', 'reuse']);
  });

  test('leave a replica that failed alone for a while, and are told of once in that time', async () => {
    const { tx, replicas, clock, warnings } = split(2, { replicaRestMs: 1_000 });
    const [first, second] = replicas as [Server, Server];
    first.answers['acquire'] = refuse(new Error('ECONNREFUSED'));
    for (let n = 0; n < 4; n++) expect(await tx.read(query, eventual)).toBe('replica 2');
    expect(first.log).toEqual(['acquire']);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatchObject({ code: 'replica_skipped' });
    expect(warnings[0]?.message).toMatch(
      /a read did not run on replica 1 of 2 \(replica 1\): .*ECONNREFUSED/,
    );
    await clock.pass(1_000);
    first.answers = {};
    second.answers['acquire'] = refuse(new Error('ECONNREFUSED'));
    for (let n = 0; n < 4; n++) expect(await tx.read(query, eventual)).toBe('replica 1');
    expect(warnings).toHaveLength(2);
  });

  test('wait no longer than they may in all, however many replicas are behind', async () => {
    const { tx, replicas, clock } = split(3);
    for (const replica of replicas) replica.answers['ask replica'] = () => 'behind';
    const read = tx.read(query, { ...after, waitMs: 100 });
    await clock.pass(100);
    expect(await read).toBe('primary');
    expect(replicas.map(({ log }) => log.length > 0)).toEqual([true, false, false]);
  });

  test.each([
    [499, 2],
    [500, 1],
  ])('leave a replica alone that had %i ms for a connection: asked %i times', async (waitMs, times) => {
    const { tx, replicas, clock } = split(1);
    const [replica] = replicas as [Server];
    replica.answers['acquire'] = () => new Promise(() => {});
    for (let n = 0; n < 2; n++) {
      const read = tx.read(query, { ...eventual, waitMs });
      await clock.pass(waitMs);
      expect(await read).toBe('primary');
    }
    expect(replica.log).toEqual(Array.from({ length: times }, () => 'acquire'));
  });

  test('begin nothing of the function before there is a connection', async () => {
    const { tx, replicas } = split(1);
    const [replica] = replicas as [Server];
    replica.answers['acquire'] = refuse(new Error('ECONNREFUSED'));
    let runs = 0;
    const read = tx.read((t) => {
      runs++;
      return query(t);
    }, eventual);
    expect(await read).toBe('primary');
    expect(runs).toBe(1);
  });

  test('that are cancelled while a replica fails are over, and blame nobody', async () => {
    const { tx, replicas, warnings } = split(1);
    const [replica] = replicas as [Server];
    const ending = new AbortController();
    replica.answers['acquire'] = () => {
      ending.abort();
      throw new Error('ECONNREFUSED');
    };
    const read = tx.read(query, { ...eventual, signal: ending.signal });
    await expect(read).rejects.toThrow(/^transaction_cancelled/);
    expect(warnings).toEqual([]);
  });

  test('after a token of another kind of database are refused', async () => {
    const { tx } = split(1);
    const read = tx.read(query, { reads: { after: parseToken('mariadb-0-1-40') } });
    await expect(read).rejects.toThrow(/^invalid_request: the token is one of mariadb, not of postgres/);
  });

  test('ask one that was behind, without waiting, and go on to the next', async () => {
    const { tx, replicas, clock, warnings } = split(2, { replicaRestMs: 1_000 });
    const [first] = replicas as [Server, Server];
    first.answers['ask replica'] = () => 'behind';
    const read = tx.read(query, { ...after, waitMs: 100 });
    await clock.pass(100);
    expect(await read).toBe('primary');
    first.log.length = 0;
    for (let n = 0; n < 3; n++) expect(await tx.read(query, after)).toBe('replica 2');
    expect(first.log).toEqual(['acquire', 'ask replica', 'reuse']);
    expect(warnings).toHaveLength(1);
    // What needs no token is read there all the same.
    const both = [await tx.read(query, eventual), await tx.read(query, eventual)];
    expect(both.toSorted()).toEqual(['replica 1', 'replica 2']);
  });

  test('go to the primary at once for a token of no position', async () => {
    const { tx, replicas } = split(1);
    expect(await tx.read(query, { reads: { after: parseToken('primary') } })).toBe('primary');
    expect(replicas[0]?.log).toEqual([]);
  });

  test.each([
    ['a conflict with recovery', 'query', conflict],
    ['a connection that is lost', 'query', lost],
    ['one that is lost at its BEGIN', 'begin', lost],
    ['one that is lost at its COMMIT', 'commit', lost],
  ])('run again on the primary after %s', async (_, at, error) => {
    const { tx, replicas, warnings } = split(2);
    const [first, second] = replicas as [Server, Server];
    first.answers[at] = refuse(error);
    expect(await tx.read(query, eventual)).toBe('primary');
    expect(second.log).toEqual([]);
    expect(warnings).toHaveLength(1);
    expect(first.taken).toBe(0);
  });

  test('run again also when the function made another error of it', async () => {
    const { tx, replicas } = split(1);
    const [replica] = replicas as [Server];
    replica.answers['query'] = refuse(conflict);
    const read = tx.read((t) => query(t).catch(() => Promise.reject(new Error('no such order'))), eventual);
    expect(await read).toBe('primary');
    expect(replica.log).toContain('rollback');
  });

  test('do not run again for an error of the statement or the function', async () => {
    const { tx, replicas, warnings } = split(1);
    const [replica] = replicas as [Server];
    replica.answers['query'] = refuse(Object.assign(new Error('no such table'), { code: '42P01' }));
    await expect(tx.read(query, eventual)).rejects.toThrow('no such table');
    await expect(tx.read(() => Promise.reject(lost), eventual)).rejects.toThrow('gone');
    expect(warnings).toEqual([]);
  });

  test('do not run again when their time is up, whatever else happened', async () => {
    const { tx, replicas, clock, primary } = split(1);
    const [replica] = replicas as [Server];
    replica.answers['query'] = refuse(conflict);
    const read = tx.read(
      async (t) => {
        await query(t).catch(() => 'caught');
        await new Promise(() => {});
      },
      { ...eventual, timeoutMs: 100 },
    );
    const outcome = read.catch(messageOf);
    await clock.pass(100);
    expect(await outcome).toMatch(/^transaction_timeout/);
    expect(primary.log).toEqual([]);
  });

  test('do not run again after a hook that failed: what they read is there', async () => {
    const { tx, primary } = split(1);
    const read = tx.read((t) => {
      t.onAfterCommit(() => Promise.reject(new Error('hook')));
      return query(t);
    }, eventual);
    await expect(read).rejects.toMatchObject({ code: 'post_commit_failed', result: 'replica 1' });
    expect(primary.log).toEqual([]);
  });

  test('discard a connection that did not answer in time', async () => {
    const { tx, replicas, clock } = split(1);
    const [replica] = replicas as [Server];
    replica.answers['ask replica'] = () => new Promise(() => {});
    const read = tx.read(query, { ...after, waitMs: 100 });
    await clock.pass(100 + 1_000);
    expect(await read).toBe('primary');
    expect(replica.log).toEqual(['acquire', 'ask replica', 'discard']);
  });

  test('give up a server that hangs long before they give up waiting', async () => {
    const { tx, replicas, clock } = split(1);
    const [replica] = replicas as [Server];
    replica.answers['ask replica'] = () => new Promise(() => {});
    const read = tx.read(query, { ...after, waitMs: 30_000 });
    await clock.pass(2_000);
    expect(await read).toBe('primary');
  });

  test('that are cancelled while they wait give the connection back, and never begin', async () => {
    const { tx, replicas, clock, warnings, primary } = split(1);
    const [replica] = replicas as [Server];
    replica.answers['ask replica'] = () => 'behind';
    const ending = new AbortController();
    const read = tx.read(query, { ...after, waitMs: 10_000, signal: ending.signal });
    const outcome = read.catch(messageOf);
    await clock.pass(10);
    ending.abort();
    expect(await outcome).toMatch(/^transaction_cancelled/);
    // When it is asked the next time, and not when the time is up.
    await clock.pass(100);
    expect(replica.taken).toBe(0);
    expect(replica.log).not.toContain('begin');
    expect(primary.log).toEqual([]);
    expect(warnings).toEqual([]);
  });

  test('need a driver that can ask only when they are after something', async () => {
    const { tx, replicas } = split(1);
    const [replica] = replicas as [Server];
    replica.canAsk = false;
    expect(await tx.read(query, eventual)).toBe('replica 1');
    await expect(tx.read(query, after)).rejects.toThrow(/^config_invalid: replica 1 has no way to ask/);
    expect(replica.taken).toBe(0);
  });

  test('are for replicas of the same kind of database, which SQLite has none of', () => {
    const primary = new Server('primary').driver;
    const sqlite = new Server('file', sqliteDialect).driver;
    expect(() => createTransactions(primary, { replicas: [sqlite] })).toThrow(/^config_invalid.*file/);
    expect(() => createTransactions(sqlite, { replicas: [sqlite] })).toThrow(/^config_invalid.*file/);
    expect(() => createTransactions(primary, { replicaRestMs: 0 })).toThrow(/^config_invalid.*replicaRestMs/);
  });
});

describe('the token', () => {
  test('is asked for around the COMMIT, and not when nobody wants it', async () => {
    const { tx, primary } = split(0);
    await tx.run(query);
    expect(primary.log).toEqual(['acquire', 'begin', 'query', 'commit', 'reuse']);
    primary.log.length = 0;
    const tokens: string[] = [];
    await tx.run(query, { onToken: (given) => tokens.push(given) });
    expect(primary.log).toEqual(['acquire', 'begin', 'query', 'ask before', 'commit', 'ask after', 'reuse']);
    expect(tokens).toEqual([token]);
  });

  test('that cannot be asked for after the COMMIT is for the primary alone, and the connection is discarded', async () => {
    const { tx, primary, warnings } = split(0);
    primary.answers['ask after'] = refuse(lost);
    const tokens: string[] = [];
    expect(await tx.run(query, { onToken: (given) => tokens.push(given) })).toBe('primary');
    expect(tokens).toEqual(['primary']);
    expect(warnings).toMatchObject([{ code: 'replica_skipped' }]);
    expect(warnings[0]?.message).toMatch(/is committed, but/);
    expect(primary.log.at(-1)).toBe('discard');
  });

  test('that is not answered in time is for the primary alone', async () => {
    const { tx, primary, clock } = split(0);
    primary.answers['ask after'] = () => new Promise(() => {});
    const tokens: string[] = [];
    const ran = tx.run(query, { onToken: (given) => tokens.push(given) });
    await clock.pass(5_000);
    await ran;
    expect(tokens).toEqual(['primary']);
  });

  test('is not made of an answer that makes no sense', async () => {
    const { tx, primary, warnings } = split(0);
    primary.answers['ask after'] = () => "0' or '1";
    const tokens: string[] = [];
    await tx.run(query, { onToken: (given) => tokens.push(given) });
    expect(tokens).toEqual(['primary']);
    expect(warnings).toHaveLength(1);
  });

  test('that cannot be asked for before the COMMIT: nothing is committed', async () => {
    const { tx, primary } = split(0);
    primary.answers['ask before'] = refuse(lost);
    const ran = tx.run(query, { onToken: () => {} });
    await expect(ran).rejects.toThrow(/^connection_lost/);
    expect(primary.log).not.toContain('commit');
    expect(primary.log.at(-1)).toBe('discard');
  });

  test('needs a driver that can ask: nothing is committed without', async () => {
    const { tx, primary } = split(0);
    primary.canAsk = false;
    await expect(tx.run(query, { onToken: () => {} })).rejects.toThrow(
      /^config_invalid: primary has no way to ask/,
    );
    expect(primary.log).toEqual(['acquire', 'begin', 'query', 'rollback', 'reuse']);
  });

  test('is not given to a transaction that the server rolled back, nor to one that may not be committed', async () => {
    const { tx, primary } = split(0);
    const tokens: string[] = [];
    const onToken = (given: string) => tokens.push(given);
    primary.answers['commit'] = () => 'ROLLBACK';
    await expect(tx.run(query, { onToken })).rejects.toThrow(/^unexpected_rollback/);
    primary.answers['commit'] = refuse(lost);
    await expect(tx.run(query, { onToken })).rejects.toThrow(/^commit_unknown/);
    expect(tokens).toEqual([]);
    expect(primary.log).not.toContain('ask after');
  });

  test('of a database that has no replicas is for the primary alone, and takes no question', async () => {
    const file = new Server('file', sqliteDialect);
    const tokens: string[] = [];
    const tx = createTransactions(file.driver);
    await tx.run(query, { onToken: (given) => tokens.push(given) });
    expect(tokens).toEqual(['primary']);
    expect(file.log.join(' ')).not.toContain('ask');
  });
});
