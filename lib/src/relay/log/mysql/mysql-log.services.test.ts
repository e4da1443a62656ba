import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, afterEach, assert, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { proxyOf } from '../../../../../test/relay/proxy.ts';
import { Wakes } from '../../../../../test/relay/wakes.ts';
import { mariadbDatabase } from '../../../../../test/services/mariadb.ts';
import { type Mysql2LogConnection, mysqlLogWake, type MysqlLogOptions } from './index.ts';

const database = mariadbDatabase();
let admin: Connection;
beforeAll(async () => {
  admin = await createConnection(database.url);
  await admin.query(`create table settle_outbox (lane int not null, seq bigint not null auto_increment, payload longtext,
    primary key (lane, seq), key (seq)) engine=innodb`);
  await admin.query('create table elsewhere (n int) engine=innodb');
});
afterAll(() => admin.end());

let wakes: Wakes;
let stop: AbortController;
beforeEach(() => {
  wakes = new Wakes();
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await vi.waitFor(async () => assert((await dumpThreads()).length === 0, 'not gone yet'), 10_000);
});

/** Every connection begins with two looks, the second a second later. */
const looksAtStart = 2;

describe('a relay that follows the binary log', () => {
  it('is woken by each commit that inserts, whoever made it, and by no other', async () => {
    await following();
    await wakes.reached(looksAtStart);
    await insert();
    await wakes.reached(3);
    await admin.query('begin');
    await insert();
    await admin.query('rollback');
    await admin.query('insert into elsewhere values (1)');
    await admin.query(`update settle_outbox set payload = 'y'`);
    await admin.query('delete from settle_outbox');
    await admin.query('create table settle_outbox_x (lane int)');
    await admin.query('insert into settle_outbox_x values (1)');
    await admin.query('drop table settle_outbox_x');
    await insert();
    await wakes.reached(4);
    expect(wakes.count).toBe(4);
    expect(wakes.warnings).toEqual([]);
  });

  it('is woken when an XA transaction is committed, from whatever connection, and not before', async () => {
    await following();
    await wakes.reached(looksAtStart);
    const xid = `'${database.name.slice(-8)}'`;
    const other = await createConnection(database.url);
    await other.query(`xa start ${xid}`);
    await other.query(`insert into settle_outbox (lane, payload) values (1, 'xa')`);
    await other.query(`xa end ${xid}`);
    await other.query(`xa prepare ${xid}`);
    await other.end();
    await insert();
    await wakes.reached(3);
    await admin.query(`xa commit ${xid}`);
    await wakes.reached(4);
    const [rows] = await admin.query<RowDataPacket[]>(`select 1 from settle_outbox where payload = 'xa'`);
    expect(rows).toHaveLength(1);
    expect(wakes.warnings).toEqual([]);
  });

  it('is not woken when an XA transaction is rolled back', async () => {
    await following();
    await wakes.reached(looksAtStart);
    const xid = `'${database.name.slice(-8)}-back'`;
    await admin.query(`xa start ${xid}`);
    await insert();
    await admin.query(`xa end ${xid}`);
    await admin.query(`xa prepare ${xid}`);
    await admin.query(`xa rollback ${xid}`);
    await insert();
    await wakes.reached(3);
    expect(wakes.count).toBe(3);
  });

  it('finds each of 300 rows by its wake-ups alone', async () => {
    const seen = new Map<string, () => void>();
    const reader = await createConnection(database.url);
    const look = async (): Promise<void> => {
      const [rows] = await reader.query<RowDataPacket[]>('select payload from settle_outbox');
      for (const { payload } of rows) seen.get(String(payload))?.();
    };
    const source = mysqlLogWake({ connect });
    await source.start(look, { signal: stop.signal, warn: wakes.warn });
    for (let n = 0; n < 300; n++) {
      const found = new Promise<void>((resolve) => seen.set(`row ${n}`, resolve));
      await insert(`row ${n}`);
      await found;
      await admin.query('delete from settle_outbox');
    }
    stop.abort();
    await reader.end();
  });

  it.each(['statement', 'mixed'])(
    'is woken, and once more to be sure, by what is logged in the format %s',
    async (format) => {
      await following();
      await wakes.reached(looksAtStart);
      const writer = await createConnection(database.url);
      await writer.query(`set session binlog_format = ${format}`);
      await writer.query(`insert into settle_outbox (lane, payload) values (3, 'x')`);
      await writer.end();
      await wakes.reached(looksAtStart + 2);
    },
  );

  it('is woken by a message of 15 MB, and by a transaction of 10,000', async () => {
    await following();
    await wakes.reached(looksAtStart);
    await admin.query(`insert into settle_outbox (lane, payload) select 1, 'x' from seq_1_to_10000`);
    await wakes.reached(3);
    await admin.query(`insert into settle_outbox (lane, payload) values (1, repeat('x', 15000000))`);
    await wakes.reached(4);
    await admin.query('delete from settle_outbox');
  });

  it('reads on after its connection is killed, and looks for what it missed', async () => {
    await following();
    await wakes.reached(looksAtStart);
    await admin.query(`kill ${(await dumpThreads())[0]}`);
    await wakes.warned(/^reading the binary log was lost, and is tried again/);
    await wakes.reached(looksAtStart * 2);
    await insert();
    await wakes.reached(looksAtStart * 2 + 1);
  });

  it('finds out that nobody is at the other end any more', async () => {
    const proxy = await proxyOf(database.url);
    await following({ connect: () => createConnection(proxy.url), aliveMs: 50, answerMs: 300 });
    await wakes.reached(1);
    proxy.silence();
    await wakes.warned(/the server said nothing for/);
    await wakes.reached(2);
    stop.abort();
    await proxy.close();
  });

  it('stays connected to a server that has nothing to say', async () => {
    await following({ aliveMs: 30, answerMs: 60 });
    // Ten times the time in which it would have given up pass meanwhile.
    await wakes.reached(looksAtStart);
    expect(wakes.warnings).toEqual([]);
  });

  it('begins without a server, and reads once there is one', async () => {
    const proxy = await proxyOf(database.url);
    proxy.refuse();
    await following({ connect: () => createConnection(proxy.url) });
    await wakes.warned(/could not be opened/);
    expect(wakes.count).toBe(0);
    proxy.accept();
    await wakes.reached(1);
    stop.abort();
    await proxy.close();
  });

  it('leaves nothing connected when it stops', async () => {
    await following();
    expect(await dumpThreads()).toHaveLength(1);
    stop.abort();
    await expect.poll(dumpThreads).toEqual([]);
  });
});

describe('a position that is kept', () => {
  it('never passes a commit that the relay has not looked for', async () => {
    await following({ name: 'held' });
    await wakes.reached(looksAtStart);
    wakes.isHeld = true;
    const before = await end();
    const held = wakes.next();
    await insert();
    await held;
    wakes.isHeld = false;
    const next = wakes.next();
    await insert();
    await next;
    stop.abort();
    await expect.poll(dumpThreads).toEqual([]);
    const kept = await position('held');
    expect(kept === undefined || kept.at <= before.at).toBe(true);
  });

  it('passes it once the relay has, and is where the next start begins', async () => {
    await following({ name: 'kept' });
    await wakes.reached(looksAtStart);
    await insert();
    await wakes.reached(3);
    const after = await end();
    await expect
      .poll(async () => (await position('kept'))?.at, { timeout: 10_000 })
      .toBeGreaterThanOrEqual(after.at);
    stop.abort();
    await expect.poll(dumpThreads).toEqual([]);
    await insert();

    stop = new AbortController();
    wakes = new Wakes();
    await following({ name: 'kept' });
    // One look for the commit that came meanwhile, beside those of every start.
    await wakes.reached(looksAtStart + 1);
    expect(wakes.warnings).toEqual([]);
  });

  it('goes on in the next file of the log', async () => {
    await following({ name: 'rotated' });
    await wakes.reached(looksAtStart);
    const before = await end();
    await admin.query('flush binary logs');
    await insert();
    await wakes.reached(3);
    const after = await end();
    expect(after.file).not.toBe(before.file);
    await expect.poll(() => position('rotated'), { timeout: 10_000 }).toMatchObject({ file: after.file });
    expect(wakes.warnings).toEqual([]);
  });

  it('that the log does not have any more is left for its end, and the table looked at', async () => {
    await following({ name: 'purged' });
    stop.abort();
    await expect.poll(dumpThreads).toEqual([]);
    await admin.query(
      `insert into settle_outbox_log values ('purged', 'mysqld-bin.999999', 4)
       on duplicate key update file = 'mysqld-bin.999999', position = 4`,
    );
    stop = new AbortController();
    wakes = new Wakes();
    await following({ name: 'purged' });
    await wakes.warned(/^the log does not go back to where it was left: it is read from its end/);
    await wakes.reached(looksAtStart);
    await insert();
    await wakes.reached(looksAtStart + 1);
  });

  it('is not written again and again while nothing of ours is written', async () => {
    await following({ name: 'idle' });
    await wakes.reached(looksAtStart);
    const before = await end();
    await admin.query('insert into elsewhere values (1)');
    const after = await end();
    stop.abort();
    await expect.poll(dumpThreads).toEqual([]);
    expect(before.file).toBe(after.file);
    expect(await position('idle')).toBeUndefined();
  });
});

describe('what will never work is refused', () => {
  it('a user who may not read the log', async () => {
    const user = `settle_${database.name.slice(-8)}`;
    await admin.query(`create user ${user}@'%'`);
    await admin.query(`grant all on ${database.name}.* to ${user}@'%'`);
    const url = new URL(database.url);
    url.username = user;
    const refused = following({ connect: () => createConnection(url.href) });
    await expect(refused).rejects.toMatchObject({
      code: 'config_invalid',
      next: expect.stringContaining('REPLICATION SLAVE'),
    });
    await admin.query(`grant binlog monitor on *.* to ${user}@'%'`);
    const stillRefused = following({ connect: () => createConnection(url.href) });
    await expect(stillRefused).rejects.toMatchObject({ code: 'config_invalid' });
    await admin.query(`grant replication slave on *.* to ${user}@'%'`);
    await following({ connect: () => createConnection(url.href) });
    await wakes.reached(1);
    stop.abort();
    await expect.poll(dumpThreads).toEqual([]);
    await admin.query(`drop user ${user}@'%'`);
  });

  it('a name to keep the position under, where its table may not be made', async () => {
    const user = `settle_keep_${database.name.slice(-8)}`;
    await admin.query('drop table if exists settle_outbox_log');
    await admin.query(`create user ${user}@'%'`);
    await admin.query(`grant select, insert, update, delete on ${database.name}.* to ${user}@'%'`);
    await admin.query(`grant replication slave, binlog monitor on *.* to ${user}@'%'`);
    const url = new URL(database.url);
    url.username = user;
    const refused = following({ connect: () => createConnection(url.href), name: 'mine' });
    await expect(refused).rejects.toMatchObject({
      code: 'config_invalid',
      next: expect.stringContaining('create table if not exists settle_outbox_log'),
    });
    await admin.query(`drop user ${user}@'%'`);
  });

  it('a server that writes no binary log', async () => {
    const core = { addCommand() {}, writePacket() {}, sequenceId: 0, stream: { destroy() {} } };
    const silent = {
      query: () => Promise.resolve([[]]),
      end: () => Promise.resolve(),
      on() {},
      threadId: 1,
      connection: core,
    };
    await expect(following({ connect: () => Promise.resolve(silent) })).rejects.toThrow(
      'config_invalid: the server writes no binary log',
    );
  });

  it('what is no connection of mysql2', async () => {
    const foreign = {
      query: () => Promise.resolve([[]]),
      end: () => Promise.resolve(),
      on() {},
      threadId: 1,
    };
    await expect(following({ connect: () => Promise.resolve(foreign) })).rejects.toThrow(
      'config_invalid: what was handed in is no connection of mysql2/promise',
    );
  });

  it.each(['name', 'table'])('a name that would have to be quoted: %s', (option) => {
    expect(() => mysqlLogWake({ connect, [option]: 'x`y' })).toThrow('config_invalid');
  });
});

function connect(): Promise<Mysql2LogConnection> {
  return createConnection(database.url);
}

async function following(options: Partial<MysqlLogOptions> = {}): Promise<void> {
  const source = mysqlLogWake({ connect, aliveMs: 500, backoff: { minMs: 1, maxMs: 20 }, ...options });
  await source.start(wakes.wake, { signal: stop.signal, warn: wakes.warn });
}

async function insert(payload = 'x'): Promise<void> {
  await admin.query('insert into settle_outbox (lane, payload) values (7, ?)', [payload]);
}

async function dumpThreads(): Promise<readonly number[]> {
  const [rows] = await admin.query<RowDataPacket[]>(
    `select id from information_schema.processlist where db = ? and command = 'Binlog Dump'`,
    [database.name],
  );
  return rows.map(({ id }) => Number(id));
}

interface Position {
  readonly file: string;
  readonly at: number;
}

async function end(): Promise<Position> {
  const [[row]] = await admin.query<RowDataPacket[]>('show master status');
  return { file: String(row?.['File']), at: Number(row?.['Position']) };
}

async function position(name: string): Promise<Position | undefined> {
  const [[row]] = await admin.query<RowDataPacket[]>(
    'select file, position from settle_outbox_log where name = ?',
    [name],
  );
  return row === undefined ? undefined : { file: String(row['file']), at: Number(row['position']) };
}
