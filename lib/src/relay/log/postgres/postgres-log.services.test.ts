import { Client, Pool } from 'pg';
import { afterAll, afterEach, assert, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { proxyOf } from '../../../../../test/relay/proxy.ts';
import { Wakes } from '../../../../../test/relay/wakes.ts';
import { postgresDatabase } from '../../../../../test/services/postgres.ts';
import { postgresLogWake, type PgReplicationClient, type PostgresLogOptions } from './index.ts';

const database = postgresDatabase();
let admin: Client;
let pool: Pool;
beforeAll(async () => {
  admin = new Client({ connectionString: database.url });
  await admin.connect();
  await admin.query(`create table settle_outbox (lane int not null, seq bigint generated always as identity, payload text not null,
    primary key (lane, seq))`);
  await admin.query('create table elsewhere (n int)');
  pool = new Pool({ connectionString: database.url });
});
afterAll(async () => {
  await pool.end();
  await admin.end();
});

let wakes: Wakes;
let stop: AbortController;
beforeEach(() => {
  wakes = new Wakes();
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await until(async () => (await activeSlots()).length === 0);
  await admin.query(
    `select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`,
  );
});

/** Every stream begins with two looks, the second a second later. */
const looksAtStart = 2;

describe('a relay that follows the log', () => {
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
    await insert();
    await wakes.reached(4);
    expect(wakes.count).toBe(4);
    expect(wakes.warnings).toEqual([]);
  });

  it('is woken when a prepared transaction is committed, and not before', async () => {
    await following();
    await wakes.reached(looksAtStart);
    await admin.query('begin');
    await insert();
    await admin.query(`prepare transaction 'settle_log_test'`);
    await insert();
    await wakes.reached(3);
    await admin.query(`commit prepared 'settle_log_test'`);
    await wakes.reached(4);
  });

  it('finds each of 400 rows by its wake-ups alone, though the log is ahead of what is visible', async () => {
    const seen = new Map<string, () => void>();
    const look = async (): Promise<void> => {
      const { rows } = await pool.query<{ payload: string }>('select payload from settle_outbox');
      for (const { payload } of rows) seen.get(payload)?.();
    };
    const source = postgresLogWake({ connect, pool });
    await source.start(look, { signal: stop.signal, warn: wakes.warn });
    for (let n = 0; n < 400; n++) {
      const found = new Promise<void>((resolve) => seen.set(`row ${n}`, resolve));
      await insert(`row ${n}`);
      await found;
      await admin.query('delete from settle_outbox');
    }
  });

  it('sends no payloads, and only inserts', async () => {
    await following();
    const { rows } = await admin.query(
      `select pubinsert, pubupdate, pubdelete, pubtruncate, t.attnames::text as columns
       from pg_publication p join pg_publication_tables t using (pubname) where pubname = 'settle_outbox'`,
    );
    expect(rows).toEqual([
      { pubinsert: true, pubupdate: false, pubdelete: false, pubtruncate: false, columns: '{lane}' },
    ]);
  });

  it('reads on after its connection is ended, and looks for what it missed', async () => {
    await following();
    await wakes.reached(looksAtStart);
    await endReaders();
    await wakes.warned(/^reading PostgreSQL's log was lost, and is tried again/);
    await wakes.reached(looksAtStart * 2);
    await insert();
    await wakes.reached(looksAtStart * 2 + 1);
  });

  it('finds out that nobody is at the other end any more', async () => {
    const proxy = await proxyOf(database.url);
    await following({ connect: () => clientOf(proxy.url), aliveMs: 20, answerMs: 300 });
    await wakes.reached(1);
    proxy.silence();
    await wakes.warned(/the server said nothing for/);
    await wakes.reached(2);
    stop.abort();
    await proxy.close();
  });

  it('begins without a server, and reads once there is one', async () => {
    const proxy = await proxyOf(database.url);
    proxy.refuse();
    await following({ connect: () => clientOf(proxy.url) });
    await wakes.warned(/could not be opened/);
    expect(wakes.count).toBe(0);
    proxy.accept();
    await wakes.reached(1);
    stop.abort();
    await proxy.close();
  });

  it('begins without the log while a transaction keeps a slot from being made, and says so', async () => {
    const writer = new Client({ connectionString: database.url });
    await writer.connect();
    await writer.query('begin; insert into elsewhere values (1)');
    await following({ answerMs: 50 });
    await wakes.warned(/^a slot is made once the transactions that write now have ended/);
    expect(wakes.count).toBe(0);
    await writer.query('commit');
    await wakes.reached(1);
    await writer.end();
  });

  it('stops while it waits for a slot', async () => {
    const writer = new Client({ connectionString: database.url });
    await writer.connect();
    await writer.query('begin; insert into elsewhere values (1)');
    await following({ answerMs: 50 });
    stop.abort();
    await expect.poll(readers).toBe(0);
    await writer.end();
    expect(
      wakes.warnings.map(({ message }) => message).filter((message) => !message.startsWith('a slot is made')),
    ).toEqual([]);
  });
});

describe('what is acknowledged', () => {
  it('never passes a commit that the relay has not looked for', async () => {
    await following({ slot: 'settle_kept' });
    await wakes.reached(looksAtStart);
    wakes.isHeld = true;
    const before = await currentLsn();
    const held = wakes.next();
    await insert();
    await held;
    wakes.isHeld = false;
    const next = wakes.next();
    await insert();
    await next;
    // The goodbye acknowledges what may be.
    stop.abort();
    await expect.poll(activeSlots).toEqual([]);
    expect(await confirmed()).toBeLessThanOrEqual(before);
  });

  it('passes it once the relay has, and is sent to whoever stops', async () => {
    await following({ slot: 'settle_kept' });
    await wakes.reached(looksAtStart);
    wakes.isHeld = true;
    const held = wakes.next();
    await insert();
    await held;
    const after = await currentLsn();
    wakes.endLooks();
    await turn();
    stop.abort();
    await expect.poll(activeSlots).toEqual([]);
    expect(await confirmed()).toBeGreaterThanOrEqual(after - 4_096n);
  });

  it('is given up with the connection, until the relay comes to look: nothing is held back for one that does not', async () => {
    await following({ lookMs: 50 });
    await wakes.reached(looksAtStart);
    wakes.isHeld = true;
    await insert();
    await wakes.warned(
      /was lost, and is tried again: the relay does not come to look: 50 ms since it was woken$/,
    );
    await until(async () => (await slots()).length === 0);
    // Many times the pause before a connection is tried again.
    const another = vi.waitFor(async () => assert((await slots()).length > 0, 'none'), 300);
    await expect(another).rejects.toThrow('none');
    wakes.isHeld = false;
    const again = wakes.next();
    wakes.endLooks();
    await again;
    const woken = wakes.reached(wakes.count + 2);
    await insert();
    await woken;
  });

  it('goes on while the database is idle and others write, so that no log is held back', async () => {
    await following({ slot: 'settle_kept' });
    await wakes.reached(1);
    const other = new Client({ connectionString: new URL('/postgres', database.url).href });
    await other.connect();
    await other.query(
      `select pg_logical_emit_message(false, 'settle', repeat('x', 1000)) from generate_series(1, 1000)`,
    );
    await other.query(`select pg_logical_emit_message(true, 'settle', 'flushed')`);
    await other.end();
    const written = await currentLsn();
    await expect.poll(confirmed, { timeout: 10_000 }).toBeGreaterThanOrEqual(written - 4_096n);
    expect(wakes.count).toBeLessThanOrEqual(looksAtStart);
  });

  it('is gone with a slot that was dropped: a new one is made, and the table looked at', async () => {
    const proxy = await proxyOf(database.url);
    await following({ slot: 'settle_kept', connect: () => clientOf(proxy.url) });
    await wakes.reached(looksAtStart);
    wakes.warnings.length = 0;
    proxy.refuse();
    proxy.cut();
    await until(async () => (await activeSlots()).length === 0);
    await admin.query(`select pg_drop_replication_slot('settle_kept')`);
    // Nobody tells of this one.
    await insert();
    proxy.accept();
    await wakes.warned(
      /^the slot settle_kept is not there: it is made anew, and the whole table is looked at instead$/,
    );
    await wakes.reached(looksAtStart * 2);
    await insert();
    await wakes.reached(looksAtStart * 2 + 1);
    stop.abort();
    await proxy.close();
  });

  it('leaves no slot behind where none was asked for', async () => {
    await following();
    expect(await activeSlots()).toHaveLength(1);
    stop.abort();
    await expect.poll(slots).toEqual([]);
  });
});

describe('log that is held back', () => {
  it('is warned of, once', async () => {
    await following({ retainedCheckMs: 5, retainedWarnBytes: 0 });
    const { message } = await wakes.warned(/holds back/);
    expect(message).toMatch(
      /^the slot settle_[0-9a-f]{16} holds back \d+ bytes of the server's log \(warned from 0\): does the relay come to look\?$/,
    );
    await wakes.reached(looksAtStart);
    expect(wakes.warnings).toHaveLength(1);
  });

  it('by a slot that nobody reads is warned of with what to do', async () => {
    await admin.query(`select pg_create_logical_replication_slot('settle_left', 'pgoutput')`);
    await admin.query('insert into elsewhere values (1)');
    await following({ retainedCheckMs: 5, retainedWarnBytes: 0 });
    await wakes.warned(
      /settle_left holds back .*: nobody reads it: select pg_drop_replication_slot\('settle_left'\)$/,
    );
  });
});

describe('what will never work is refused', () => {
  it('a role that may not read the log', async () => {
    const role = `settle_reader_${database.name.slice(-8)}`;
    await admin.query(`create role ${role} login`);
    const url = new URL(database.url);
    url.username = role;
    await following();
    stop.abort();
    stop = new AbortController();
    const refused = following({ connect: () => clientOf(url.href) });
    await expect(refused).rejects.toMatchObject({
      code: 'config_invalid',
      next: expect.stringContaining('REPLICATION'),
    });
    await admin.query(`drop role ${role}`);
  });

  it('a publication that may not be made, with what its owner has to say', async () => {
    const role = `settle_writer_${database.name.slice(-8)}`;
    await admin.query(`create role ${role} login replication; grant select on settle_outbox to ${role}`);
    const url = new URL(database.url);
    url.username = role;
    const theirs = new Pool({ connectionString: url.href });
    const refused = following({ pool: theirs, publication: 'settle_theirs' });
    await expect(refused).rejects.toMatchObject({
      code: 'config_invalid',
      next: `As the owner of the table: create publication settle_theirs for table settle_outbox (lane) with (publish = 'insert')`,
    });
    await theirs.end();
    await admin.query(`revoke all on settle_outbox from ${role}; drop role ${role}`);
  });

  it('a publication of something else', async () => {
    await admin.query('create publication settle_other for table elsewhere');
    await expect(following({ publication: 'settle_other' })).rejects.toThrow(
      'config_invalid: the publication settle_other does not tell of inserts into settle_outbox',
    );
  });

  it('a server that does not write such a log', async () => {
    const asked = { query: () => Promise.resolve({ rows: [{ level: 'replica', version: '150000' }] }) };
    await expect(following({ pool: asked })).rejects.toThrow(
      'config_invalid: the log has wal_level replica, not logical',
    );
  });

  it.each(['slot', 'publication', 'table'])('a name that would have to be quoted: %s', (option) => {
    expect(() => postgresLogWake({ connect, pool, [option]: 'x"y' })).toThrow('config_invalid');
  });
});

function connect(): PgReplicationClient {
  return clientOf(database.url);
}

function clientOf(url: string): PgReplicationClient {
  const config = { connectionString: url, replication: 'database' };
  return new Client(config);
}

async function following(options: Partial<PostgresLogOptions> = {}): Promise<void> {
  const source = postgresLogWake({ connect, pool, backoff: { minMs: 1, maxMs: 20 }, ...options });
  await source.start(wakes.wake, { signal: stop.signal, warn: wakes.warn });
}

async function insert(payload = 'x'): Promise<void> {
  await admin.query('insert into settle_outbox (lane, payload) values (7, $1)', [payload]);
}

async function activeSlots(): Promise<readonly string[]> {
  return (await allSlots()).filter(({ active }) => active).map(({ name }) => name);
}

async function slots(): Promise<readonly string[]> {
  return (await allSlots()).map(({ name }) => name);
}

async function allSlots(): Promise<readonly { readonly name: string; readonly active: boolean }[]> {
  const { rows } = await admin.query<{ name: string; active: boolean }>(
    'select slot_name as name, active from pg_replication_slots where database = current_database()',
  );
  return rows;
}

async function readers(): Promise<number> {
  const { rows } = await admin.query<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity where datname = current_database() and backend_type = 'walsender'`,
  );
  return rows[0]?.n ?? -1;
}

async function endReaders(): Promise<void> {
  await admin.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and backend_type = 'walsender'`,
  );
}

async function currentLsn(): Promise<bigint> {
  return lsn('select pg_current_wal_lsn()');
}

async function confirmed(): Promise<bigint> {
  return lsn(`select confirmed_flush_lsn from pg_replication_slots where slot_name = 'settle_kept'`);
}

async function lsn(query: string): Promise<bigint> {
  const { rows } = await admin.query<{ bytes: string }>(
    `select ((${query}) - '0/0'::pg_lsn)::bigint::text as bytes`,
  );
  return BigInt(rows[0]?.bytes ?? -1);
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  await vi.waitFor(async () => assert(await isSo(), 'not yet'), 10_000);
}

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
