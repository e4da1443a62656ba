import { describe, expect, expectTypeOf, it } from 'vitest';
import * as s from './schema.ts';

const point = s.object({ x: s.integer({ min: 0, max: 9 }), label: s.optional(s.string({ min: 1, max: 3 })) });

function faults(schema: s.Schema<unknown>, value: unknown): readonly string[] {
  const parsed = s.parse(schema, value);
  return parsed.kind === 'valid' ? [] : parsed.issues.map(({ path, message }) => `${path}: ${message}`);
}

describe('parse', () => {
  it('gives back the very value, typed', () => {
    const value: unknown = { x: 1 };
    const parsed = s.parse(point, value);
    expect(parsed).toEqual({ kind: 'valid', value });
    if (parsed.kind !== 'valid') return;
    expect(parsed.value).toBe(value);
    expectTypeOf(parsed.value).toEqualTypeOf<{ readonly x: number; readonly label?: string }>();
  });

  it('tells every fault with its JSON Pointer', () => {
    const schema = s.object({
      'a/b': s.array(point, { max: 3 }),
      kind: s.literal('this'),
      'm~n': s.record(s.boolean, { keyMax: 3, max: 2 }),
    });
    expect(
      faults(schema, {
        'a/b': [{ x: 1 }, { x: '1', y: 2 }, 3],
        kind: 'that',
        'm~n': { yes: true, no: 0 },
        more: 1,
      }),
    ).toEqual([
      '/a~1b/1/x: must be an integer, not a string',
      '/a~1b/1/y: is not a known member',
      '/a~1b/2: must be an object, not 3',
      '/kind: must be "this"',
      '/m~0n/no: must be true or false, not 0',
      '/more: is not a known member',
    ]);
  });

  it('tells no more faults than its cap, however many there are', () => {
    const many = Array.from({ length: 1_000 }, () => ({ x: 'no' }));
    expect(faults(s.array(point, { max: 1_000 }), many)).toHaveLength(s.issuesMax);
    const strangers = Object.fromEntries(many.map((_, at) => [`k${at}`, at]));
    expect(faults(s.object({}), strangers)).toHaveLength(s.issuesMax);
    expect(faults(s.record(s.boolean, { keyMax: 9, max: 1_000 }), strangers)).toHaveLength(s.issuesMax);
  });

  it('does not say a long name back', () => {
    const [fault] = faults(s.object({}), { ['x'.repeat(10_000)]: 1 });
    expect(fault?.length).toBeLessThan(120);
  });

  it.each([
    [s.string({ min: 1, max: 3 }), ['a', 'abc'], ['', 'abcd', 1, null, undefined, ['a']]],
    [s.string({ max: 9, shape: { pattern: /^[a-z]*$/, says: 'small' } }), ['', 'abc'], ['A', 'a1']],
    [s.integer({ min: -1, max: 2 }), [-1, 0, 2], [-2, 3, 0.5, NaN, Infinity, '1', null, true, 1n]],
    [s.number({ min: 0, max: 1 }), [0, 0.5, 1], [1.1, NaN, Infinity, '0']],
    [s.boolean, [true, false], [0, 1, 'true', null]],
    [s.literal(true), [true], [false, 1, 'true']],
    [s.oneOf(['a', 'b']), ['a', 'b'], ['c', '', 0, null, 'constructor']],
    [
      s.array(s.boolean, { min: 1, max: 2 }),
      [[true], [true, false]],
      [[], [1], [true, true, true], {}, null],
    ],
    [s.json, [null, 0, 'x', [], {}], [undefined]],
    [s.object({}), [{}], [[], null, 'x', 1, { a: 1 }]],
    [s.record(s.json, { keyMax: 2, max: 2 }), [{}, { a: 1 }], [{ abc: 1 }, { a: 1, b: 2, c: 3 }, [], null]],
  ])('takes what fits schema %# and nothing else', (schema, good, bad) => {
    for (const value of good) expect(faults(schema, value)).toEqual([]);
    for (const value of bad) expect(faults(schema, value)).toHaveLength(1);
  });

  it('tells the variants of a union by their tag', () => {
    const shape = s.union('kind', {
      circle: s.object({ kind: s.literal('circle'), r: s.integer({ min: 0, max: 9 }) }),
      square: s.object({ kind: s.literal('square'), side: s.integer({ min: 0, max: 9 }) }),
    });
    expect(faults(shape, { kind: 'circle', r: 1 })).toEqual([]);
    expect(faults(shape, { kind: 'square', r: 1 })).toEqual([
      '/side: is missing',
      '/r: is not a known member',
    ]);
    for (const kind of ['constructor', '__proto__', 1, null]) {
      expect(faults(shape, { kind })).toEqual(['/kind: must be one of circle, square']);
    }
    expectTypeOf<s.Infer<typeof shape>>().toEqualTypeOf<
      { readonly kind: 'circle'; readonly r: number } | { readonly kind: 'square'; readonly side: number }
    >();
  });
});

describe('toJsonSchema', () => {
  it('prints what is checked', () => {
    expect(s.toJsonSchema(s.describe(point, 'A point.', { default: { x: 0 } }))).toEqual({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      properties: {
        x: { type: 'integer', minimum: 0, maximum: 9 },
        label: { type: 'string', minLength: 1, maxLength: 3 },
      },
      required: ['x'],
      additionalProperties: false,
      description: 'A point.',
      default: { x: 0 },
    });
  });

  it('prints a named schema once, however often it is used', () => {
    const named = s.named('Point', point);
    expect(s.toJsonSchema(s.object({ from: named, to: s.describe(named, 'Where to.') }))).toMatchObject({
      properties: {
        from: { $ref: '#/$defs/Point' },
        to: { $ref: '#/$defs/Point', description: 'Where to.' },
      },
      $defs: { Point: { type: 'object' } },
    });
  });
});
