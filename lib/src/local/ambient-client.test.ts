import { describe, expect, test } from 'vitest';
import { ambientClient } from './ambient-client.ts';

class Pool {
  readonly #name: string;
  readonly kind = 'pool';

  constructor(name: string) {
    this.#name = name;
  }

  query(): string {
    return this.#name;
  }
}

function questions(strings: TemplateStringsArray, ...values: readonly unknown[]): string {
  return `${strings.join('?')} with ${values.join()}`;
}

describe('the ambient client', () => {
  test('means another one at every use, also where it was kept', () => {
    let current = new Pool('outside');
    const db = ambientClient(current, () => current);
    expect(db.query()).toBe('outside');
    current = new Pool('inside');
    expect([db.query(), db.kind, 'query' in db, db instanceof Pool]).toEqual(['inside', 'pool', true, true]);
  });

  test('has methods that can be taken from it, and see the private fields of theirs', () => {
    const query: () => string = Reflect.get(
      ambientClient(new Pool('a'), () => new Pool('b')),
      'query',
    );
    expect(query()).toBe('b');
  });

  test('can be called where the client can', () => {
    let current = questions;
    const sql = ambientClient(questions, () => current);
    expect(sql`select ${1}`).toBe('select ? with 1');
    current = () => 'other';
    expect([sql`select 1`, typeof sql]).toEqual(['other', 'function']);
  });

  test('cannot be changed, which would change nothing', () => {
    const db = ambientClient<{ query?: unknown }>({ query: 1 }, () => ({ query: 2 }));
    expect(() => {
      db.query = 3;
    }).toThrow('cannot be changed');
    expect(() => Object.defineProperty(db, 'query', { value: 3 })).toThrow('cannot be changed');
    expect(() => delete db.query).toThrow('cannot be changed');
    expect(() => Reflect.setPrototypeOf(db, {})).toThrow('cannot be changed');
    expect(db.query).toBe(2);
  });

  test('has the keys of the client', () => {
    const db = ambientClient<object>({ a: 1 }, () => ({ a: 1, b: 2 }));
    expect([Object.keys(db), { ...db }, JSON.stringify(db)]).toEqual([
      ['a', 'b'],
      { a: 1, b: 2 },
      '{"a":1,"b":2}',
    ]);
  });

  test('keeps what a method has of its own', () => {
    const count = Object.assign((n: number) => n, { distinct: () => 'distinct' });
    const db = ambientClient({ count }, () => ({ count }));
    expect([db.count(1), db.count.distinct()]).toEqual([1, 'distinct']);
  });

  test('can be returned by an async function where there is no client', async () => {
    const strict = ambientClient(new Pool('outside'), () => {
      throw new Error('in no transaction');
    });
    expect(await Promise.resolve(strict)).toBe(strict);
    expect(() => strict.query()).toThrow('in no transaction');
  });

  test('is the client itself where that is none', () => {
    expect(ambientClient<unknown>(undefined, () => 1)).toBeUndefined();
  });
});
