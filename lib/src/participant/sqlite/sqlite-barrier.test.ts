import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseBranchName, parseGid } from '../../core/ids.ts';
import type { Op } from '../../core/outcome.ts';
import { producerBranch } from '../../core/message-plan.ts';
import { Refused } from '../../define/answers.ts';
import type { BarrierCall } from '../barrier.ts';
import { isKept } from '../kept-answers.ts';
import { sqliteBarrier, type SqliteBarrier } from './sqlite-barrier.ts';

let folder: string;
let db: DatabaseSync;
let guard: SqliteBarrier<DatabaseSync>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'settle-barrier-'));
  db = open();
  db.exec('create table stock (id integer primary key, quantity integer not null check (quantity >= 0))');
  db.exec('insert into stock values (1, 10)');
  guard = sqliteBarrier(db, { now: () => 1_000_000 });
  guard.migrate();
});

afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true });
});

function open(): DatabaseSync {
  const opened = new DatabaseSync(join(folder, 'db.sqlite'));
  opened.exec('pragma journal_mode = wal; pragma busy_timeout = 50');
  return opened;
}

function call(gid: string, op: Op = 'action', branch = 'b'): BarrierCall {
  return { gid: parseGid(gid), branch: parseBranchName(branch), op };
}

function take(on: DatabaseSync): { left: number } {
  on.exec('update stock set quantity = quantity - 1');
  return { left: quantity(on) };
}

function quantity(on = db): number {
  return Number(on.prepare('select quantity from stock').get()?.['quantity']);
}

describe('the barrier on SQLite', () => {
  // covers B3
  it('takes effect once for calls that come at the same time, and gives them one answer', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => guard.run(call('g'), take)));
    expect(answers).toEqual(Array.from({ length: 5 }, () => ({ left: 9 })));
    expect(quantity()).toBe(9);
  });

  // covers C2
  it('keeps its answers when the file is opened again', async () => {
    await guard.run(call('g'), take);
    db.close();
    db = open();
    expect(await sqliteBarrier(db).run(call('g'), take)).toEqual({ left: 9 });
    expect(quantity()).toBe(9);
  });

  it('rolls back and keeps a refusal, while its neighbours in the same transaction stay', async () => {
    const refuse = (on: DatabaseSync): never => {
      take(on);
      throw new Refused('none left');
    };
    const [before, refused, after] = await Promise.allSettled([
      guard.run(call('a'), take),
      guard.run(call('b'), refuse),
      guard.run(call('c'), take),
    ]);
    expect([before.status, refused.status, after.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(quantity()).toBe(8);
    await expect(guard.run(call('b'), take)).rejects.toThrow('none left');
    expect(quantity()).toBe(8);
  });

  it('leaves nothing of work that failed, and its neighbours stay', async () => {
    const fail = (on: DatabaseSync): never => {
      take(on);
      on.exec('update stock set quantity = -1');
      throw new Error('not reached');
    };
    const [failed, other] = await Promise.allSettled([
      guard.run(call('a'), fail),
      guard.run(call('b'), take),
    ]);
    expect([failed.status, other.status, quantity()]).toEqual(['rejected', 'fulfilled', 9]);
    expect(await guard.run(call('a'), take)).toEqual({ left: 8 });
  });

  it('lets nothing in between while async work runs', async () => {
    const log: string[] = [];
    const slow = Promise.withResolvers<undefined>();
    const first = guard.run(call('a'), async () => {
      log.push('first begins');
      await slow.promise;
      log.push('first ends');
    });
    const second = guard.run(call('b'), () => void log.push('second'));
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
    expect(log).toEqual(['first begins']);
    slow.resolve(undefined);
    await Promise.all([first, second]);
    expect(log).toEqual(['first begins', 'first ends', 'second']);
  });

  it('answers only after the commit, so another connection sees what was answered', async () => {
    const other = open();
    try {
      await guard.run(call('g'), take);
      expect(quantity(other)).toBe(9);
    } finally {
      other.close();
    }
  });

  it('is unavailable while another process holds the file, and does it later', async () => {
    const other = open();
    try {
      other.exec('begin immediate');
      await expect(guard.run(call('g'), take)).rejects.toMatchObject({ code: 'unavailable' });
      other.exec('rollback');
      expect(await guard.run(call('g'), take)).toEqual({ left: 9 });
    } finally {
      other.close();
    }
  });

  it('does not touch a transaction that somebody else began on its connection', async () => {
    db.exec('begin');
    take(db);
    await expect(guard.run(call('g'), take)).rejects.toMatchObject({ code: 'unavailable' });
    db.exec('commit');
    expect(quantity()).toBe(9);
  });

  it.each(['commit', 'rollback'])('is unavailable when work does a %s of its own', async (sql) => {
    const ends = guard.run(call('g'), (on) => on.exec(sql));
    await expect(ends).rejects.toMatchObject({ code: 'unavailable' });
    expect(await guard.run(call('h'), take)).toEqual({ left: 9 });
  });

  it('says what to do when its table is missing', async () => {
    db.exec('drop table settle_barrier');
    await expect(sqliteBarrier(db).run(call('g'), take)).rejects.toMatchObject({
      code: 'unavailable',
      next: expect.stringContaining('migrate()') as unknown,
    });
  });

  it('takes as many transactions as batches', async () => {
    const single = sqliteBarrier(db, { batchMax: 1 });
    const answers = await Promise.all(['a', 'b', 'c'].map((gid) => single.run(call(gid), take)));
    expect(answers).toEqual([{ left: 9 }, { left: 8 }, { left: 7 }]);
  });

  it('tells the handler that an answer is kept, on the very call it was asked with', async () => {
    const [done, refused, failed] = [call('a'), call('b'), call('c')];
    const result = await guard.run(done, take);
    expect(isKept(done, { kind: 'returned', result })).toBe(true);
    expect(isKept(done, { kind: 'returned', result: { ...result } })).toBe(false);
    const error: unknown = await guard
      .run(refused, () => Promise.reject(new Refused('no')))
      .catch((e: unknown) => e);
    expect(isKept(refused, { kind: 'thrown', error })).toBe(true);
    const broken: unknown = await guard
      .run(failed, () => Promise.reject(new Error('x')))
      .catch((e: unknown) => e);
    expect(isKept(failed, { kind: 'thrown', error: broken })).toBe(false);
    await guard.run(done, take);
    expect(isKept(done, { kind: 'returned', result })).toBe(false);
  });
});

describe('the producer of a message', () => {
  it('is found by the check-back once its local transaction committed', async () => {
    expect(await guard.prepare('m', take)).toEqual({ left: 9 });
    expect(await guard.check(call('m', 'check', producerBranch))).toBeUndefined();
  });

  // covers A19
  it('is refused once a check-back has not found it', async () => {
    await expect(guard.check(call('m', 'check', producerBranch))).rejects.toThrow('did not commit');
    await expect(guard.prepare('m', take)).rejects.toThrow('suspended');
    expect(quantity()).toBe(10);
  });

  it('does its work once for one gid', async () => {
    await guard.prepare('m', take);
    expect(await guard.prepare('m', take)).toEqual({ left: 9 });
  });

  it('refuses a gid that is none', async () => {
    await expect(guard.prepare('a b', take)).rejects.toMatchObject({ code: 'invalid_request' });
  });
});

describe('pruning', () => {
  it('deletes the oldest rows, a bounded number of them, and none that are young', async () => {
    let nowMs = 0;
    const aging = sqliteBarrier(db, { now: () => nowMs });
    for (const gid of ['a', 'b', 'c', 'd']) {
      await aging.run(call(gid), () => 1);
      nowMs += 100;
    }
    expect(await aging.prune({ olderThanMs: 150, limit: 2 })).toBe(2);
    expect(await aging.prune({ olderThanMs: 150, limit: 2 })).toBe(1);
    expect(await aging.prune({ olderThanMs: 150 })).toBe(0);
  });
});
