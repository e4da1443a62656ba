import { AsyncLocalStorage } from 'node:async_hooks';
import { Client, Pool } from 'pg';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { proxyOf } from '../../../../test/relay/proxy.ts';
import { Wakes } from '../../../../test/relay/wakes.ts';
import { postgresDatabase } from '../../../../test/services/postgres.ts';
import { notifyOnCommit } from './notify-on-commit.ts';
import { notifyWake, type NotifyWakeOptions, type PgListenClient } from './notify.ts';

const database = postgresDatabase();
let admin: Client;
beforeAll(async () => {
  admin = new Client({ connectionString: database.url });
  await admin.connect();
});
afterAll(() => admin.end());

let wakes: Wakes;
let stop: AbortController;
beforeEach(() => {
  wakes = new Wakes();
  stop = new AbortController();
});
afterEach(() => stop.abort());

const backoff = { minMs: 1, maxMs: 20 };

async function listening(
  connect: () => PgListenClient = () => new Client({ connectionString: database.url }),
  options: NotifyWakeOptions = {},
): Promise<void> {
  const source = notifyWake(connect, { backoff, ...options });
  await source.start(wakes.wake, { signal: stop.signal, warn: wakes.warn });
}

async function notify(): Promise<void> {
  await admin.query(`select pg_notify('settle_outbox', '')`);
}

describe('a relay that listens', () => {
  it('is woken once to begin with, and by each notification', async () => {
    await listening();
    await wakes.reached(1);
    await notify();
    await wakes.reached(2);
    expect(wakes.warnings).toEqual([]);
  });

  it('is woken once by a hundred notifications that come together', async () => {
    await listening();
    await wakes.reached(1);
    const woken = wakes.next();
    await admin.query(`select pg_notify('settle_outbox', n::text) from generate_series(1, 100) n`);
    await woken;
    const again = wakes.next();
    await notify();
    await again;
    // What came in several packets may be several; never one each.
    expect(wakes.count).toBeLessThan(10);
  });

  it('listens again after its connection is ended, and looks for what it missed', async () => {
    await listening();
    await wakes.reached(1);
    const again = wakes.reached(2);
    await endListeners();
    await again;
    await wakes.warned(/^LISTEN settle_outbox was lost, and is tried again/);
    await notify();
    await wakes.reached(3);
  });

  it('tries until the server takes it again', async () => {
    const proxy = await proxyOf(database.url);
    await listening(() => new Client({ connectionString: proxy.url }));
    await wakes.reached(1);
    proxy.refuse();
    proxy.cut();
    await wakes.warned(/could not be opened again/);
    const again = wakes.next();
    proxy.accept();
    await again;
    await notify();
    await wakes.next();
    stop.abort();
    await proxy.close();
  });

  it('finds out that nobody is at the other end any more', async () => {
    const proxy = await proxyOf(database.url);
    await listening(() => new Client({ connectionString: proxy.url }), { aliveMs: 20, answerMs: 200 });
    await wakes.reached(1);
    const again = wakes.next();
    proxy.silence();
    await again;
    expect(wakes.warnings[0]?.message).toContain('the answer whether it lives took longer than 200 ms');
    stop.abort();
    await proxy.close();
  });

  it('begins without a server, and listens once there is one', async () => {
    const proxy = await proxyOf(database.url);
    proxy.refuse();
    await listening(() => new Client({ connectionString: proxy.url }));
    expect(wakes.count).toBe(0);
    await wakes.warned(/^LISTEN settle_outbox could not be opened/);
    proxy.accept();
    await wakes.reached(1);
    stop.abort();
    await proxy.close();
  });

  it('refuses a pooler that loses what comes for it', async () => {
    const source = notifyWake(() => pooled(), { answerMs: 200 });
    const started = source.start(wakes.wake, { signal: stop.signal, warn: wakes.warn });
    await expect(started).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('do not come through the pooler'),
    });
  });

  it('listens no more once it is stopped', async () => {
    await listening();
    await wakes.reached(1);
    stop.abort();
    await expect.poll(listeners).toEqual([]);
    await notify();
    expect(wakes.count).toBe(1);
  });

  it('refuses a channel that would have to be quoted', () => {
    expect(() => notifyWake(() => new Client(), { channel: 'x"; drop table y' })).toThrow('config_invalid');
  });
});

describe('with postgres.js', () => {
  it('is woken to begin with, by notifications, and again after its connection was ended', async () => {
    const sql = postgres(database.url, { onnotice() {} });
    await notifyWake(sql).start(wakes.wake, { signal: stop.signal, warn: wakes.warn });
    await wakes.reached(1);
    await sql.notify('settle_outbox', '');
    await wakes.reached(2);
    await endListeners();
    await wakes.reached(3);
    await sql.notify('settle_outbox', '');
    await wakes.reached(4);
    expect(wakes.warnings).toEqual([]);
    await sql.end({ timeout: 1 });
  });
});

it('begins without a server, and listens once there is one, with postgres.js', async () => {
  const proxy = await proxyOf(database.url);
  proxy.refuse();
  const sql = postgres(proxy.url, { onnotice() {}, backoff: () => 0.01 });
  await notifyWake(sql, { answerMs: 100 }).start(wakes.wake, { signal: stop.signal, warn: wakes.warn });
  await wakes.warned(/^LISTEN settle_outbox hears nothing: is the server away/);
  proxy.accept();
  await wakes.reached(1);
  await notify();
  await wakes.reached(2);
  await sql.end({ timeout: 1 });
  await proxy.close();
});

describe('a process that commits', () => {
  it.each(['pg', 'postgres.js'])(
    'notifies at once, and then at most once in every pause, over %s',
    async (driver) => {
      await listening();
      await wakes.reached(1);
      const outbox = new Committing();
      const pool = new Pool({ connectionString: database.url });
      const sql = postgres(database.url, { onnotice() {} });
      let sent = 0;
      const pgNotifier = { query: (text: string, values: string[]) => (sent++, pool.query(text, values)) };
      const jsNotifier = {
        notify: (channel: string, payload: string) => (sent++, sql.notify(channel, payload)),
      };
      const end = notifyOnCommit(outbox, () => (driver === 'pg' ? pgNotifier : jsNotifier), {
        coalesceMs: 100_000,
      });
      for (let n = 0; n < 1_000; n++) outbox.commit();
      await wakes.reached(2);
      expect(sent).toBe(1);
      outbox.commit();
      outbox.commit();
      await turn();
      expect(sent).toBe(1);
      // The end sends what a pause holds back.
      await end();
      await wakes.reached(3);
      expect(sent).toBe(2);
      expect(outbox.listeners.size).toBe(0);
      await pool.end();
      await sql.end({ timeout: 1 });
    },
  );

  it('has one NOTIFY under way at a time', async () => {
    const outbox = new Committing();
    const answers: (() => void)[] = [];
    const query = (): Promise<void> => new Promise((resolve) => answers.push(resolve));
    const end = notifyOnCommit(outbox, () => ({ query }), { coalesceMs: 0 });
    outbox.commit();
    await expect.poll(() => answers.length).toBe(1);
    outbox.commit();
    await turn();
    expect(answers.length).toBe(1);
    answers[0]?.();
    await expect.poll(() => answers.length).toBe(2);
    answers[1]?.();
    await end();
  });

  it('goes on with a warning when a NOTIFY fails', async () => {
    const outbox = new Committing();
    let sent = 0;
    const query = (): Promise<void> =>
      sent++ === 0 ? Promise.reject(new Error('no such server')) : Promise.resolve();
    const end = notifyOnCommit(outbox, () => ({ query }), { coalesceMs: 0, warn: wakes.warn });
    outbox.commit();
    await wakes.warned(
      /^NOTIFY settle_outbox failed, and relays find the messages by polling: no such server$/,
    );
    outbox.commit();
    await expect.poll(() => sent).toBe(2);
    await end();
  });

  it('never notifies in the context of the transaction that committed', async () => {
    const context = new AsyncLocalStorage<string>();
    const outbox = new Committing();
    const seen: (string | undefined)[] = [];
    const query = (): Promise<void> => Promise.resolve(void seen.push(context.getStore()));
    const end = notifyOnCommit(outbox, () => ({ query }), { coalesceMs: 0 });
    context.run('a transaction', () => outbox.commit());
    await expect.poll(() => seen.length).toBe(1);
    context.run('another', () => outbox.commit());
    await end();
    expect(seen).toEqual([undefined, undefined]);
  });
});

class Committing {
  readonly listeners = new Set<() => void>();

  onCommitted(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  commit(): void {
    for (const listener of this.listeners) listener();
  }
}

/** What PgBouncer does to a client that listens: it has a process id of its own, and nothing comes. */
function pooled(): PgListenClient {
  const client = new Client({ connectionString: database.url });
  return {
    connect: () => client.connect(),
    query: (text) => client.query(text),
    end: () => client.end(),
    on(event: 'notification' | 'error' | 'end', listener: (...args: never[]) => void) {
      return event === 'notification' ? undefined : client.on(event as 'end', listener);
    },
    processID: 4_711,
  };
}

async function listeners(): Promise<readonly number[]> {
  const { rows } = await admin.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
  );
  return rows.map(({ pid }) => pid);
}

async function endListeners(): Promise<void> {
  await admin.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid()`,
  );
}

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
