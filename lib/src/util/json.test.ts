import { describe, expect, it } from 'vitest';
import { firstDifference, isJsonObject } from './json.ts';

describe('the first difference of two JSON values', () => {
  it.each<[unknown, unknown, string | undefined]>([
    [1, 1, undefined],
    [{ a: [1, { b: 'x' }] }, { a: [1, { b: 'x' }] }, undefined],
    [{ a: 1, b: 2 }, { b: 2, a: 1 }, undefined],
    [1, 2, '/'],
    [null, {}, '/'],
    [[1], { 0: 1 }, '/'],
    [[1], [1, 2], '/'],
    [{ a: [1, 2] }, { a: [1, 3] }, '/a/1'],
    [{ a: [1, 2] }, { a: [1] }, '/a'],
    [{ a: 1 }, {}, '/a'],
    [{}, { a: 1 }, '/a'],
    [{ 'a/b~c': 1 }, { 'a/b~c': 2 }, '/a~1b~0c'],
    [{ toString: 1 }, {}, '/toString'],
  ])('of %j and %j', (a, b, path) => {
    expect(firstDifference(a, b)).toBe(path);
  });
});

it('an object of JSON is neither null nor an array', () => {
  expect([{}, null, [], 'x', undefined].map((value) => isJsonObject(value))).toEqual([
    true,
    false,
    false,
    false,
    false,
  ]);
});
