import { describe, expect, it } from 'vitest';
import type { Json } from '../util/json.ts';
import { resolvePayload, type CallSpec } from './call-spec.ts';

const results: Readonly<Record<string, Json>> = {
  a: { id: 7, list: [{ x: 'first' }], nothing: null },
  text: 'abc',
};

function resolved(spec: Omit<CallSpec, 'address'>, missing: 'required' | 'omit' = 'required') {
  return resolvePayload({ address: 'http://x', ...spec }, (from) => results[from], missing);
}

const from = (name: string, ...path: readonly string[]) => ({ from: name, path });

describe('a payload', () => {
  it('without references is sent as it is', () => {
    expect(resolved({})).toEqual({ kind: 'ready', value: undefined });
    expect(resolved({ payload: [1, null] })).toEqual({ kind: 'ready', value: [1, null] });
  });

  it.each<[readonly string[], Json | undefined]>([
    [['a', 'id'], 7],
    [['a'], results['a']],
    [['text'], 'abc'],
    [['a', 'list', '0', 'x'], 'first'],
    [['a', 'nothing'], null],
  ])('is filled from %j', ([name = '', ...path], value) => {
    expect(resolved({ payload: { kept: 1 }, inject: { member: from(name, ...path) } })).toEqual({
      kind: 'ready',
      value: { kept: 1, member: value },
    });
  });

  it.each([['stranger'], ['a', 'absent'], ['a', 'nothing', 'below'], ['text', '0'], ['a', 'toString']])(
    'misses what %s.%s does not lead to',
    (name, ...path) => {
      const inject = { member: from(name, ...path) };
      expect(resolved({ inject })).toEqual({ kind: 'missing', reference: [name, ...path].join('.') });
      expect(resolved({ payload: { kept: 1 }, inject }, 'omit')).toEqual({
        kind: 'ready',
        value: { kept: 1 },
      });
    },
  );

  it('has its members replaced, and its template left alone', () => {
    const payload = { id: 0 };
    expect(resolved({ payload, inject: { id: from('a', 'id') } })).toMatchObject({ value: { id: 7 } });
    expect(payload).toEqual({ id: 0 });
  });

  it('may have a member called __proto__', () => {
    const inject = Object.fromEntries([['__proto__', from('a', 'id')]]);
    const payload = resolved({ inject });
    expect(payload.kind === 'ready' && JSON.stringify(payload.value)).toBe('{"__proto__":7}');
  });
});
