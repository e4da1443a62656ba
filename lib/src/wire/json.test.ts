import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSettleError } from '../util/errors.ts';
import { jsonDepthMax, parseJson } from './json.ts';

const limits = { bytesMax: 10_000, depthMax: jsonDepthMax };

/** The issue of a refused text, as `<path>: <message>`; `accepted` when it was not refused. */
function verdict(text: string | Uint8Array, bounds = limits): string {
  try {
    parseJson(text, bounds);
    return 'accepted';
  } catch (error) {
    if (!isSettleError(error)) throw error;
    return error.code === 'invalid_request'
      ? `${error.issues[0]?.path}: ${error.issues[0]?.message}`
      : error.code;
  }
}

describe('parseJson', () => {
  it.each([
    'null',
    '0',
    '-0',
    '1e308',
    '"x"',
    '[]',
    '{}',
    ' {"a" : [1, {"b":"{\\"a\\":1:[["}]} ',
    '{"a":{"a":{"a":1}}}',
    '[{"a":1},{"a":1}]',
    '{"constructor":{"a":1}}',
    '{"prototype":{}}',
    '{"constructor":null,"x":{"prototype":1}}',
    '"\\ud800"',
    '{"\\ud800":"\\udfff"}',
    '{"":1," ":2}',
    '{"a":"__proto__"}',
  ])('takes %s as JSON.parse does', (text) => {
    expect(parseJson(text, limits)).toEqual(JSON.parse(text));
  });

  it.each([
    ['{"a":1,"a":1}', '/a: stands twice in one object'],
    ['{"a":1,"\\u0061":1}', '/a: stands twice in one object'],
    ['[{"a":{"b/c":1,"x":[{}],"b/c":2}}]', '/0/a/b~1c: stands twice in one object'],
    ['{"":1,"":2}', '/: stands twice in one object'],
    ['{"0":1,"0":2}', '/0: stands twice in one object'],
    ['{"__proto__":1}', '/__proto__: is not allowed as the name of a member'],
    ['{"__proto__":{},"__proto__":{}}', '/__proto__: is not allowed as the name of a member'],
    ['{"a":[{"\\u005f_proto__":null}]}', '/a/0/__proto__: is not allowed as the name of a member'],
    [
      '{"constructor":{"x":1,"prototype":{}}}',
      '/constructor/prototype: is not allowed as the name of a member',
    ],
    ['[1e999]', '/0: is a number too large to be kept'],
    ['{"a":{"b":[0,-1e400]}}', '/a/b/1: is a number too large to be kept'],
    ['-1e999', ': is a number too large to be kept'],
    [`${'['.repeat(17)}${']'.repeat(17)}`, ': holds more than 16 objects and arrays within each other'],
    ['{"a":'.repeat(17), ': holds more than 16 objects and arrays within each other'],
  ])('refuses %s and says where', (text, issue) => {
    expect(verdict(text)).toBe(issue);
  });

  it.each([
    '',
    ' ',
    '{',
    '{"a"}',
    "{'a':1}",
    '[1,]',
    '01',
    'NaN',
    'Infinity',
    '"\u0001"',
    '"\\x"',
    '\ufeff{}',
    '{}{}',
    '// x\n1',
  ])('refuses %j, which is not JSON', (text) => {
    expect(verdict(text)).toMatch(/^: /);
  });

  it('takes the deepest nesting that is allowed', () => {
    expect(verdict(`${'['.repeat(16)}${']'.repeat(16)}`)).toBe('accepted');
  });

  it('refuses bytes that are not UTF-8', () => {
    for (const bytes of [
      [0x22, 0xff, 0x22],
      [0x22, 0xc0, 0xaf, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xe2, 0x82],
    ]) {
      expect(verdict(Uint8Array.from(bytes))).toBe(': holds bytes that are not UTF-8');
    }
    expect(parseJson(new TextEncoder().encode('{"ä":"€😀"}'), limits)).toEqual({ ä: '€😀' });
  });

  it('counts bytes, not characters', () => {
    const text = JSON.stringify('€'.repeat(10));
    expect(verdict(text, { bytesMax: 32, depthMax: 1 })).toBe('accepted');
    expect(verdict(text, { bytesMax: 31, depthMax: 1 })).toBe('body_too_large');
    expect(verdict(new TextEncoder().encode(text), { bytesMax: 31, depthMax: 1 })).toBe('body_too_large');
  });

  it('leaves every prototype as it was', () => {
    verdict('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });
});

// ---- against JSON.parse and a second, slow opinion

/** A JSON value as a tree that may hold what objects cannot: a member twice. */
type Tree =
  | { readonly kind: 'leaf'; readonly text: string; readonly infinite: boolean }
  | { readonly kind: 'array'; readonly items: readonly Tree[] }
  | { readonly kind: 'object'; readonly members: readonly (readonly [string, Tree])[] };

const leaf = fc.oneof(
  fc.json({ maxDepth: 0 }).map((text): Tree => ({ kind: 'leaf', text, infinite: false })),
  fc.constantFrom<Tree>(
    { kind: 'leaf', text: '1e999', infinite: true },
    { kind: 'leaf', text: '"}{][:,\\""', infinite: false },
    { kind: 'leaf', text: '1e-999', infinite: false },
  ),
);
// No member is called `\`: where JSON.parse of V8 13.6 has met `"` and `\` in this order before, it takes a second `"` for
// the `\`, so there is nothing to compare with.
const key = fc.oneof(
  { weight: 6, arbitrary: fc.string({ unit: 'binary', maxLength: 3 }) },
  { weight: 2, arbitrary: fc.constantFrom('a', 'b', '"', ':') },
  { weight: 1, arbitrary: fc.constantFrom('__proto__', 'constructor', 'prototype') },
);
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    leaf,
    fc.array(tie('tree'), { maxLength: 4 }).map((items): Tree => ({ kind: 'array', items })),
    fc
      .array(fc.tuple(key, tie('tree')), { maxLength: 4 })
      .map((members): Tree => ({ kind: 'object', members })),
  ),
}));

function print(node: Tree): string {
  switch (node.kind) {
    case 'leaf':
      return node.text;
    case 'array':
      return `[${node.items.map(print).join(' ,')}]`;
    case 'object':
      return `{${node.members.map(([name, item]) => `${JSON.stringify(name)} :${print(item)}`).join(', ')}}`;
  }
}

function isDangerous(node: Tree): boolean {
  switch (node.kind) {
    case 'leaf':
      return node.infinite;
    case 'array':
      return node.items.some(isDangerous);
    case 'object': {
      const names = node.members.map(([name]) => name);
      return (
        new Set(names).size !== names.length ||
        names.includes('__proto__') ||
        node.members.some(
          ([name, item]) =>
            isDangerous(item) ||
            (name === 'constructor' &&
              item.kind === 'object' &&
              item.members.some(([inner]) => inner === 'prototype')),
        )
      );
    }
  }
}

const refused = Symbol('refused');

/** The value, or that it was refused. */
function read(text: string | Uint8Array): unknown {
  return verdict(text) === 'accepted' ? parseJson(text, limits) : refused;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('parseJson, against JSON.parse', () => {
  it('takes a document exactly when it is free of what is refused, and reads it alike', () => {
    fc.assert(
      fc.property(tree, (document) => {
        const text = print(document);
        const expected: unknown = isDangerous(document) ? refused : JSON.parse(text);
        expect(read(text)).toEqual(expected);
      }),
      { numRuns: 2_000 },
    );
  });

  it('reads bytes as the text they stand for', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const bytes = new TextEncoder().encode(text);
        expect(read(bytes)).toEqual(read(new TextDecoder().decode(bytes)));
      }),
    );
  });

  it('refuses any text that JSON.parse refuses', () => {
    const signs = fc.constantFrom('{', '}', '[', ']', ':', ',', '"', '\\', '1', 'e', '-', ' ', 'a');
    fc.assert(
      fc.property(fc.string({ unit: signs, maxLength: 12 }), (text) => {
        fc.pre(!isJson(text));
        expect(verdict(text)).not.toBe('accepted');
      }),
      { numRuns: 5_000 },
    );
  });
});
