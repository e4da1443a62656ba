import { describe, expect, test } from 'vitest';
import type { SqlResult, SqlValue } from '../util/sql.ts';
import type { Draft } from './draft.ts';
import { statementMax } from './limits.ts';
import { Writer } from './writer.ts';

/** Takes down what it is told, and answers as an empty database that has the tables. */
class Statements {
  readonly told: { readonly sql: string; readonly values: readonly SqlValue[] }[] = [];

  query(sql: string, values: readonly SqlValue[] = []): Promise<SqlResult> {
    this.told.push({ sql, values });
    return Promise.resolve({ rows: sql.includes('settle_schema') ? [{ version: 1 }] : [], affected: 0 });
  }

  get inserts(): readonly (typeof this.told)[number][] {
    return this.told.filter(
      ({ sql }) => sql.startsWith('insert into settle_outbox (') || sql.includes('_delayed'),
    );
  }
}

function draftOf(fields: Partial<Draft> = {}): Draft {
  const { payload = '{}', bytes = payload.length + 200 } = fields;
  return {
    id: 'm1',
    type: 'note',
    version: 1,
    target: 'test',
    address: 'notes',
    key: null,
    lane: 0,
    headers: null,
    delayMs: 0,
    dedupKey: undefined,
    ...fields,
    payload,
    bytes,
  };
}

function listOf<T>(count: number, make: (n: number) => T): T[] {
  return Array.from({ length: count }, (_, n) => make(n));
}

describe.each([
  ['postgres', 65_535],
  ['mysql', 65_535],
  ['sqlite', 32_766],
] as const)('the statements on %s', (database, parametersMax) => {
  test('take no more values than the database does, and are few', async () => {
    const statements = new Statements();
    await new Writer(database, false).write(
      statements,
      listOf(2_000, (n) => draftOf({ delayMs: n % 2 })),
    );
    const { inserts } = statements;
    expect(Math.max(...inserts.map(({ values }) => values.length))).toBeLessThan(parametersMax);
    expect(inserts.length).toBeLessThan(database === 'sqlite' ? 40 : 5);
  });

  test('are no larger than MySQL takes, save for a message that is larger itself', async () => {
    const statements = new Statements();
    const sizes = [600_000, 600_000, 300_000, 100_000, 2_000_000, 10];
    await new Writer(database, false).write(
      statements,
      sizes.map((size) => draftOf({ payload: 'x'.repeat(size) })),
    );
    const bytes = statements.inserts.map(({ values }) => values.join('').length);
    expect(bytes).toHaveLength(4);
    expect(bytes.filter((size) => size > statementMax.bytes)).toHaveLength(1);
  });

  test('are the same text for the same number of messages', async () => {
    const statements = new Statements();
    const writer = new Writer(database, true);
    for (const id of ['a', 'b']) {
      for (const count of [1, 2, 8, 9, 500])
        await writer.write(
          statements,
          listOf(count, () => draftOf({ id })),
        );
    }
    const texts = statements.inserts.map(({ sql }) => sql);
    expect(new Set(texts).size).toBe(new Set(texts.slice(0, texts.length / 2)).size);
  });

  test('ask for the version once, and for locks only where there is something to lock', async () => {
    const statements = new Statements();
    const writer = new Writer(database, true);
    for (let n = 0; n < 3; n++) await writer.write(statements, [draftOf()]);
    expect(statements.told.map(({ sql }) => sql.split(' ')[0])).toEqual([
      'select',
      'insert',
      'insert',
      'insert',
    ]);
  });

  test('take locks in ascending order, each once', async () => {
    const statements = new Statements();
    const keys = ['a', 'b', 'c', 'a', 'd', 'e'];
    await new Writer(database, true).write(
      statements,
      keys.map((key) => draftOf({ key })),
    );
    const lock = statements.told.find(({ sql }) => sql.includes('lock'));
    const text = database === 'postgres' ? String(lock?.values[0]) : (lock?.sql ?? '');
    const slots = (/[({]([\d, ]+)[)}]/.exec(text)?.[1] ?? '').split(',').filter(Boolean).map(Number);
    expect(slots).toHaveLength(database === 'sqlite' ? 0 : 5);
    expect(slots).toEqual(slots.toSorted((a, b) => a - b));
  });
});
