// Every route of the table, given everything a stranger may send: a problem with code and next, nothing stored.
import { describe, expect, it } from 'vitest';
import { apiWorld, type Answer, type ApiWorld } from '../testing/api-world.ts';
import { gid, tccOf } from '../testing/engine-world.ts';
import type { Json } from '../util/json.ts';
import { routes, type Route } from '../wire/routes.ts';
import { parse } from '../wire/schema.ts';
import { problemSchema } from '../wire/transaction.ts';
import { apiLimits } from './limits.ts';

const present = 'present';
const url = 'http://127.0.0.1:4000/x';
const all: readonly Route[] = routes;
const withBody = all.filter((route) => route.body !== undefined);
const withGid = all.filter((route) => route.path.includes('{gid}'));

/** A body that the route accepts. */
const goodBodies: Readonly<Record<string, Json>> = {
  submit: { gid: 'new', pattern: 'saga', name: 'n', steps: [{ name: 'a', action: { url } }] },
  submitMany: {
    transactions: [{ gid: 'new', pattern: 'saga', name: 'n', steps: [{ name: 'a', action: { url } }] }],
  },
  register: { branches: [{ name: 'more', confirm: { url }, cancel: { url } }] },
  commit: {},
  abort: { reason: 'r' },
  act: { action: 'retry-now', reason: 'r' },
};

const withMember =
  (member: string): ((good: string) => string) =>
  (good) =>
    good === '{}' ? `{${member}}` : `{${member},${good.slice(1)}`;

/** What is done to a good body, and the code that must come of it. */
const spoiled: readonly (readonly [string, (good: string) => string | Uint8Array, string])[] = [
  ['a missing body', () => '', 'invalid_request'],
  ['a body that is not JSON', (good) => good.slice(0, -1), 'invalid_request'],
  ['a body after the body', (good) => `${good} ${good}`, 'invalid_request'],
  ['null', () => 'null', 'invalid_request'],
  ['an array', () => '[]', 'invalid_request'],
  ['a text', () => '"text"', 'invalid_request'],
  ['an unknown member', withMember('"sudo":true'), 'invalid_request'],
  ['a wait that is text', withMember('"waitMs":"1"'), 'invalid_request'],
  ['a member twice', withMember('"waitMs":1,"waitMs":1'), 'invalid_request'],
  ['a member twice, once escaped', withMember('"waitMs":1,"wait\\u004ds":1'), 'invalid_request'],
  ['__proto__', withMember('"__proto__":{"polluted":true}'), 'invalid_request'],
  ['an escaped __proto__', withMember('"\\u005f_proto__":{"polluted":true}'), 'invalid_request'],
  ['constructor.prototype', withMember('"constructor":{"prototype":{"polluted":true}}'), 'invalid_request'],
  ['a number beyond all numbers', withMember('"waitMs":1e999'), 'invalid_request'],
  ['a deeply nested member', withMember(`"x":${'['.repeat(40)}${']'.repeat(40)}`), 'invalid_request'],
  ['a nesting that would overflow a stack', () => '['.repeat(500_000), 'invalid_request'],
  ['an oversized body', withMember(`"x":"${'x'.repeat(apiLimits.bodyBytesMax)}"`), 'body_too_large'],
  [
    'invalid UTF-8',
    (good) => Uint8Array.of(...new TextEncoder().encode(good.slice(0, -1)), 0x22, 0xff, 0x22),
    'invalid_request',
  ],
];

/** A world with one TCC transaction in it. */
async function worldWithOne(): Promise<ApiWorld> {
  const world = await apiWorld();
  await world.clock.until(
    world.engine.submit({ gid: gid(present), definition: { ...tccOf('a'), decide: 'initiator' } }),
  );
  await world.clock.advance(100);
  return world;
}

/** The answer is a problem of this code, and nothing came of the request. */
async function refusedWith(code: string, world: ApiWorld, ask: () => Promise<Answer>): Promise<Answer> {
  const batches = world.store.batches.length;
  const answer = await ask();
  expect(answer.json).toMatchObject({ code, next: expect.stringMatching(/\w{3}/) as unknown });
  expect(parse(problemSchema, answer.json)).toMatchObject({ kind: 'valid' });
  expect(answer.headers['content-type']).toBe('application/problem+json');
  expect(answer.status).toBe(answer.json['status']);
  expect(world.store.batches.length).toBe(batches);
  expect(world.defects).toEqual([]);
  expect(Reflect.get({}, 'polluted')).toBeUndefined();
  return answer;
}

describe.each(withBody)('$method $path', (route) => {
  const path = route.path.replace('{gid}', present);
  const good = JSON.stringify(goodBodies[route.operation]);

  it('accepts the body that is spoiled below', async () => {
    const world = await worldWithOne();
    const { status } = await world.ask('POST', path, undefined, { body: good });
    expect(status).toBeLessThan(300);
  });

  it.each(spoiled)('refuses %s', async (_, spoil, code) => {
    const world = await worldWithOne();
    const answer = await refusedWith(code, world, () =>
      world.ask('POST', path, undefined, { body: spoil(good) }),
    );
    expect(answer.json['gid']).toBeOneOf(path === route.path ? [undefined, 'new'] : [present]);
  });

  it.each([
    undefined,
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonp',
    'application/json; charset=utf-16',
  ])('refuses a body that calls itself %s', async (type) => {
    const world = await worldWithOne();
    const headers = { 'content-type': type };
    await refusedWith('unsupported_media_type', world, () =>
      world.ask('POST', path, undefined, { body: good, headers }),
    );
  });
});

describe.each(all)('$method $path', (route) => {
  const path = route.path.replace('{gid}', present);

  it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'get', '__proto__', ''])(
    'refuses the method "%s" unless the table has it, and says which it takes',
    async (method) => {
      const allowed = all
        .filter((other) => other.path === route.path || other.path.replace('{gid}', 'batch') === route.path)
        .map((other): string => other.method);
      if (allowed.includes(method)) return;
      const world = await worldWithOne();
      const { headers } = await refusedWith('method_not_allowed', world, () => world.ask(method, path));
      expect(headers['allow']?.split(', ').toSorted()).toEqual(allowed.toSorted());
    },
  );

  it.each(['/', '/x', '%00', '//'])(
    'does not take the path with "%s" behind it for its own',
    async (tail) => {
      const world = await worldWithOne();
      const { status } = await world.ask(route.method, path + tail, goodBodies[route.operation]);
      expect([400, 404, 405]).toContain(status);
    },
  );

  it.each([
    'sudo=true',
    'waitMs=-1',
    'waitMs=1&waitMs=2',
    'limit=1e3',
    'limit=201',
    'status=done',
    'stuck=1',
    '__proto__=1',
    `cursor=${'x'.repeat(5_000)}`,
  ])('refuses the query %s', async (query) => {
    if (route.query === undefined) return;
    const world = await worldWithOne();
    await refusedWith('invalid_request', world, () => world.ask(route.method, `${path}?${query}`));
  });
});

describe.each(withGid)('$method $path', (route) => {
  const body = goodBodies[route.operation];

  it('answers 404 to a gid that is not known, and names it', async () => {
    const world = await worldWithOne();
    const path = route.path.replace('{gid}', 'nobody');
    const answer = await refusedWith('transaction_not_found', world, () =>
      world.ask(route.method, path, body),
    );
    expect([answer.status, answer.json['gid']]).toEqual([404, 'nobody']);
  });

  it.each([
    'a.b',
    'a%20b',
    '%',
    '%ff',
    '%2e%2e',
    'x'.repeat(129),
    'ä',
    "';drop table--",
    '<script>',
    '$%7Bx%7D',
  ])('refuses "%s" as a gid', async (bad) => {
    const world = await worldWithOne();
    const path = route.path.replace('{gid}', bad);
    const answer = await refusedWith('invalid_request', world, () => world.ask(route.method, path, body));
    expect(answer.json).not.toHaveProperty('gid');
  });
});

const saga = (more: Record<string, Json>): Json => ({ gid: 'g-1', pattern: 'saga', name: 'n', ...more });
const step = (name: string, more: Record<string, Json> = {}): Json => ({ name, action: { url }, ...more });
const action = (call: Json): Json => saga({ steps: [{ name: 'a', action: call }] });

describe('a submit', () => {
  it.each([
    [
      'a cycle',
      saga({ steps: [step('a', { after: ['b'] }), step('b', { after: ['a'] })] }),
      'invalid_definition',
    ],
    ['a step after itself', saga({ steps: [step('a', { after: ['a'] })] }), 'invalid_definition'],
    ['a step after a stranger', saga({ steps: [step('a', { after: ['x'] })] }), 'invalid_definition'],
    ['two steps of one name', saga({ steps: [step('a'), step('a')] }), 'invalid_definition'],
    ['a step called input', saga({ steps: [step('input')] }), 'invalid_definition'],
    [
      'a reference to a later step',
      saga({ steps: [step('a', { action: { url, inject: { x: { from: 'b', path: [] } } } }), step('b')] }),
      'invalid_definition',
    ],
    [
      'two targets of one name',
      {
        gid: 'g-1',
        pattern: 'message',
        name: 'n',
        targets: [1, 2].map(() => ({ name: 'a', deliver: { url } })),
      },
      'invalid_definition',
    ],
    ['an address off the list', action({ url: 'http://forbidden.example/' }), 'address_not_allowed'],
    ['no steps', saga({ steps: [] }), 'invalid_request'],
    [
      'too many steps',
      saga({ steps: Array.from({ length: 101 }, (_, at) => step(`s${at}`)) }),
      'invalid_request',
    ],
    ['an unknown pattern', { gid: 'g-1', pattern: 'xa', name: 'n' }, 'invalid_request'],
    ['no name', saga({ name: '', steps: [step('a')] }), 'invalid_request'],
    ['a branch name with a dot', saga({ steps: [step('a.b')] }), 'invalid_request'],
    ['a status of its own', saga({ status: 'committed', steps: [step('a')] }), 'invalid_request'],
    [
      'a payload that is too large',
      saga({ steps: [step('a', { action: { url, payload: 'x'.repeat(262_145) } })] }),
      'body_too_large',
    ],
    [
      'an input that is too large',
      saga({ input: 'x'.repeat(262_145), steps: [step('a')] }),
      'body_too_large',
    ],
    ['an address instead of a url', action({ address: 'fn:debit' }), 'invalid_request'],
    ['a function', action({ url: 'fn:debit' }), 'invalid_request'],
    ['a file', action({ url: 'file:///etc/passwd' }), 'invalid_request'],
  ])('is refused with %s', async (_, body, code) => {
    const world = await worldWithOne();
    world.participants.whyNotAllowed = (address) =>
      address.includes('forbidden') ? 'not on the list' : undefined;
    const answer = await refusedWith(code, world, () => world.ask('POST', '/v1/transactions', body));
    expect(answer.json['gid']).toBe('g-1');
  });

  it('names the step whose URL is wrong', async () => {
    const world = await worldWithOne();
    const { json } = await world.ask(
      'POST',
      '/v1/transactions',
      action({ url: 'https://user:pw@bank.example/' }),
    );
    expect(json['issues']).toEqual([
      { path: '/steps/0/action/url', message: expect.stringContaining('user') as unknown },
    ]);
  });
});

describe('an action', () => {
  it.each([
    ['an unknown one', { action: 'delete', reason: 'r' }],
    ['one of the prototype', { action: 'constructor', reason: 'r' }],
    ['one without a reason', { action: 'abort' }],
    ['one with an empty reason', { action: 'abort', reason: '' }],
    ['one that names another actor', { action: 'abort', reason: 'r', actor: 'root' }],
    ['a skip that names no branch', { action: 'skip-branch', reason: 'r' }],
    ['an abort that names a branch', { action: 'abort', reason: 'r', branch: 'a' }],
  ])('is refused: %s', async (_, body) => {
    const world = await worldWithOne();
    await refusedWith('invalid_request', world, () =>
      world.ask('POST', `/v1/transactions/${present}/actions`, body),
    );
  });

  it.each(['skip-branch', 'forget'])('is refused when it is illegal in this status: %s', async (name) => {
    const world = await worldWithOne();
    const body = {
      action: name,
      reason: 'r',
      ...(name === 'skip-branch' ? { branch: 'a' } : { unresolved: [] }),
    };
    const answer = await refusedWith('illegal_action', world, () =>
      world.ask('POST', `/v1/transactions/${present}/actions`, body),
    );
    expect([answer.status, answer.json['gid']]).toEqual([409, present]);
  });
});

describe('a path', () => {
  it.each([
    '',
    '/',
    '/v1',
    '/v1/',
    '/v2/transactions',
    '/V1/transactions',
    '/v1/transactions/',
    '/v1/transactions//commit',
    '/v1/transactions/x/commit/',
    '/v1/transactions/x/sudo',
    '/__proto__',
    '/v1/../health/live',
    `/${'x'.repeat(10_000)}`,
  ])('that leads nowhere is no route: "%s"', async (path) => {
    const world = await worldWithOne();
    const answer = await refusedWith('no_such_route', world, () => world.ask('GET', path));
    expect(answer.status).toBe(404);
  });
});
