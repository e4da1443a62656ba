import { describe, expect, expectTypeOf, test } from 'vitest';
import type { StandardSchema } from '../define/standard-schema.ts';
import type { Json } from '../util/json.ts';
import { defineMessages, message, type CheckedPayloadOf, type PayloadOf } from './define-messages.ts';

const trimmed: StandardSchema<{ id: number }, { id: string }> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) => ({ value: { id: String((value as { id: number }).id) } }),
  },
};

const messages = defineMessages({
  'order.placed': {
    schema: trimmed,
    key: (order) => {
      expectTypeOf(order).toEqualTypeOf<{ id: string }>();
      return order.id;
    },
    destination: 'kafka:orders',
    version: 2,
  },
  'order.cancelled': message<{ id: string }>({
    key: ({ id }) => id,
    destination: 'webhook:https://x.example/a:b',
  }),
  'any.thing': { destination: 'nats:any.thing' },
});

describe('what is defined', () => {
  test('has the types of its schema, and of the payload it was given', () => {
    type M = typeof messages;
    expectTypeOf<PayloadOf<M, 'order.placed'>>().toEqualTypeOf<{ id: number }>();
    expectTypeOf<CheckedPayloadOf<M, 'order.placed'>>().toEqualTypeOf<{ id: string }>();
    expectTypeOf<PayloadOf<M, 'order.cancelled'>>().toEqualTypeOf<{ id: string }>();
    expectTypeOf<PayloadOf<M, 'any.thing'>>().toEqualTypeOf<Json>();
  });

  test('has its target and address apart, and version 1 unless it says otherwise', () => {
    expect(messages['order.placed']).toMatchObject({ target: 'kafka', address: 'orders', version: 2 });
    expect(messages['order.cancelled']).toMatchObject({
      name: 'order.cancelled',
      target: 'webhook',
      address: 'https://x.example/a:b',
      version: 1,
    });
  });

  test('has its key from the payload, and none where it says nothing', () => {
    expect(messages['order.placed'].key({ id: 'o1' })).toBe('o1');
    expect(messages['any.thing'].key({ id: 'o1' })).toBeUndefined();
  });

  test('has no type that nobody defined', () => {
    expect('toString' in messages).toBe(false);
    expect(Object.isFrozen(messages)).toBe(true);
  });
});

test.each<[string, string, object]>([
  ['no name', '', { destination: 'kafka:orders' }],
  ['a name with a space', 'order placed', { destination: 'kafka:orders' }],
  ['a name that is too long', 'x'.repeat(256), { destination: 'kafka:orders' }],
  ['a destination without an address', 'a', { destination: 'kafka' }],
  ['a destination with an empty address', 'a', { destination: 'kafka:' }],
  ['a destination without a target', 'a', { destination: ':orders' }],
  ['a destination with a line break', 'a', { destination: 'kafka:a\nb' }],
  ['a target that is too long', 'a', { destination: `${'x'.repeat(65)}:orders` }],
  ['version 0', 'a', { destination: 'kafka:orders', version: 0 }],
  ['version 1.5', 'a', { destination: 'kafka:orders', version: 1.5 }],
  ['a version beyond its column', 'a', { destination: 'kafka:orders', version: 2 ** 31 }],
])('refuses %s', (_, name, type) => {
  const types = { [name]: type as { destination: 'kafka:orders' } };
  expect(() => defineMessages(types)).toThrow(/invalid_definition/);
});

test('what the compiler can refuse, it does', () => {
  expect(() =>
    defineMessages({
      // @ts-expect-error -- no schema
      a: { schema: 5, destination: 'kafka:orders' },
      // @ts-expect-error -- a key is text
      b: { schema: trimmed, key: (order) => order.id.length, destination: 'kafka:orders' },
      // @ts-expect-error -- no destination
      c: { destination: 'orders' },
    }),
  ).toThrow(/invalid_definition/);
});
