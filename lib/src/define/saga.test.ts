import { describe, expect, it } from 'vitest';
import type { BranchName, Gid } from '../core/ids.ts';
import { planOf } from '../core/patterns.ts';
import type { InputSchema } from './definition.ts';
import { functionAddress, registryOf, servedAt, type FunctionCall } from './functions.ts';
import { saga } from './saga.ts';
import { unchecked } from './standard-schema.ts';
import { toStored } from './stored.ts';

const placeOrder = saga('place-order', { input: unchecked<{ sku: string }>(), timeoutMs: 5_000 })
  .step('reserve', {
    do: ({ sku }) => ({ id: sku, at: new Date(0) }),
    undo: (_input, reserved) => void undone.push(reserved?.id),
  })
  .step('charge', { do: (_input, ctx) => ctx.results.reserve.id, idempotent: true });

const undone: unknown[] = [];

function call(branch: string, op: FunctionCall['op'], payload: FunctionCall['payload']): FunctionCall {
  const { signal } = new AbortController();
  return { gid: 'g' as Gid, branch: branch as BranchName, op, attempt: 1, payload, signal };
}

describe('a saga as code', () => {
  it('compiles to a definition that holds its input once and refers to it', () => {
    const definition = placeOrder.compile({ sku: 'A' }, functionAddress);
    expect(definition).toMatchObject({
      pattern: 'saga',
      name: 'place-order',
      timeoutMs: 5_000,
      input: { sku: 'A' },
      steps: [
        {
          name: 'reserve',
          action: {
            address: 'fn:place-order/reserve/action',
            inject: { input: { from: 'input', path: [] } },
          },
          compensation: { address: 'fn:place-order/reserve/compensate' },
        },
        {
          name: 'charge',
          action: { inject: { reserve: { from: 'reserve', path: [], optional: true } } },
        },
      ],
    });
    expect(planOf(definition).pattern).toBe('saga');
  });

  it('is reached at a participant by definition and step, one address for doing and undoing', () => {
    expect(placeOrder.compile({}, servedAt('http://127.0.0.1:1/settle/'))).toMatchObject({
      steps: [
        {
          action: { address: 'http://127.0.0.1:1/settle/place-order/reserve' },
          compensation: { address: 'http://127.0.0.1:1/settle/place-order/reserve' },
        },
        {},
      ],
    });
  });

  it('registers one function for each operation, with its promise to repeat its answers', () => {
    expect([...placeOrder.functions].map(([address, { idempotent }]) => [address, idempotent])).toEqual([
      ['fn:place-order/reserve/action', false],
      ['fn:place-order/reserve/compensate', false],
      ['fn:place-order/charge/action', true],
    ]);
  });

  it('gives back a result as the store would', async () => {
    const reserve = placeOrder.functions.get('fn:place-order/reserve/action');
    await expect(reserve?.call(call('reserve', 'action', { input: { sku: 'A' } }))).resolves.toEqual({
      id: 'A',
      at: '1970-01-01T00:00:00.000Z',
    });
  });

  it('gives its undo the result, or undefined when there is none', async () => {
    const undo = placeOrder.functions.get('fn:place-order/reserve/compensate');
    await undo?.call(call('reserve', 'compensate', { input: { sku: 'A' }, reserve: { id: 'R' } }));
    await undo?.call(call('reserve', 'compensate', { input: { sku: 'A' } }));
    expect(undone).toEqual(['R', undefined]);
  });

  it('keeps a function that changes its input from changing anybody else’s', async () => {
    const input = { list: [1] };
    const grow = saga('grow', { input: unchecked<{ list: number[] }>() }).step('add', {
      do: ({ list }) => list.push(2),
    });
    await grow.functions.get('fn:grow/add/action')?.call(call('add', 'action', { input }));
    expect(input).toEqual({ list: [1] });
  });

  it('leaves the saga it was made from as it was', () => {
    const one = saga('one').step('a', { do: () => 1 });
    one.step('b', { do: () => 2 });
    expect(one.functions.size).toBe(1);
  });

  it.each<[string, () => unknown]>([
    [
      'repeats a name',
      () =>
        saga('s')
          .step('a', { do: () => 1 })
          .step('a' as never, { do: () => 1 }),
    ],
    ['is called like the input', () => saga('s').step('input', { do: () => 1 })],
    ['bears an impossible name', () => saga('s').step('a b', { do: () => 1 })],
    ['comes after itself', () => saga('s').step('a', { after: ['a' as never], do: () => 1 })],
    ['comes after a stranger', () => saga('s').step('a', { after: ['z' as never], do: () => 1 })],
    [
      'is a second pivot',
      () =>
        saga('s')
          .step('a', { pivot: true, do: () => 1 })
          .step('b', { pivot: true, do: () => 1 }),
    ],
    [
      'could never be undone',
      () =>
        saga('s')
          .step('a', { pivot: true, do: () => 1 })
          .step('b', { do: () => 1, undo: () => 1 }),
    ],
    ['belongs to a saga without a name', () => saga('')],
    ['belongs to a saga whose name is no path segment', () => saga('a/b')],
  ])('throws at once when a step %s', (_what, define) => {
    expect(define).toThrow(/^invalid_definition: /);
  });
});

describe('the input of a definition', () => {
  const positive: InputSchema = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) =>
        typeof value === 'number' && value > 0
          ? { value: value * 2 }
          : { issues: [{ message: 'must be positive', path: ['order', { key: 'a/b' }] }] },
    },
  };

  it('is what its schema makes of it', async () => {
    await expect(saga('s', { input: positive }).parse(2)).resolves.toBe(4);
  });

  it('is refused with the place of every fault', async () => {
    await expect(saga('s', { input: positive }).parse(-1)).rejects.toMatchObject({
      code: 'invalid_request',
      issues: [{ path: '/order/a~1b', message: 'must be positive' }],
    });
  });

  it('is any JSON without a schema, and nothing else', async () => {
    await expect(saga('s').parse({ a: [1] })).resolves.toEqual({ a: [1] });
    await expect(saga('s').parse(1n as never)).rejects.toMatchObject({ code: 'invalid_request' });
  });
});

describe('what goes through the store', () => {
  it.each<[unknown, unknown]>([
    [undefined, null],
    [() => 1, null],
    [Number.NaN, null],
    [{ a: undefined, b: 1 }, { b: 1 }],
    [new Date(0), '1970-01-01T00:00:00.000Z'],
    ['text', 'text'],
  ])('comes back as JSON: %o', (value, stored) => {
    expect(toStored(value, 'it')).toEqual(stored);
  });

  it('is refused when it refers to itself', () => {
    const value: { self?: unknown } = {};
    value.self = value;
    expect(() => toStored(value, 'it')).toThrow(/^invalid_request: it cannot be written as JSON/);
  });
});

describe('a registry', () => {
  it('refuses two definitions of one name', () => {
    expect(() => registryOf([saga('a'), saga('a')])).toThrow(/^invalid_definition: two definitions/);
  });
});
