import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBranchName, parseGid } from '../core/ids.ts';
import {
  ops,
  printCallHeaders,
  readCallHeaders,
  traceparentOf,
  webhookId,
  type CallHeaders,
} from './headers.ts';

const call: CallHeaders = {
  gid: parseGid('g:1~a'),
  branch: parseBranchName('b-1'),
  op: 'action',
  attempt: 3,
};

describe('the headers of a branch call', () => {
  it('are read back as they were printed', () => {
    expect(readCallHeaders(printCallHeaders(call))).toEqual({ kind: 'call', call });
  });

  it.each([
    ['settle-gid', undefined],
    ['settle-gid', 'a b'],
    ['settle-gid', ['g', 'h']],
    ['settle-branch', undefined],
    ['settle-branch', '../x'],
    ['settle-op', undefined],
    ['settle-op', 'drop'],
    ['settle-op', 'Action'],
    ['settle-attempt', '0'],
    ['settle-attempt', '1.5'],
    ['settle-attempt', '9'.repeat(20)],
  ])('with %s as %o are refused, and the header is named', (header, value) => {
    expect(readCallHeaders({ ...printCallHeaders(call), [header]: value })).toMatchObject({
      kind: 'invalid',
      header,
    });
  });

  it('count as the first attempt when they do not say which', () => {
    const read = readCallHeaders({ ...printCallHeaders(call), 'settle-attempt': undefined });
    expect(read).toEqual({ kind: 'call', call: { ...call, attempt: 1 } });
  });

  it('do not look at the prototype', () => {
    const inherited = Object.create(printCallHeaders(call)) as Record<string, string>;
    expect(readCallHeaders(inherited).kind).toBe('invalid');
  });
});

describe('the id of an operation', () => {
  const gid = fc.stringMatching(/^[A-Za-z0-9_:~-]{1,20}$/).map(parseGid);
  const branch = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,10}$/).map(parseBranchName);
  const operation = fc.record({ gid, branch, op: fc.constantFrom(...ops) });

  it('is equal on every attempt, and never holds a dot', () => {
    expect(webhookId(call)).toBe(webhookId({ ...call, attempt: 9 } as CallHeaders));
    fc.assert(fc.property(operation, (one) => !webhookId(one).includes('.')));
  });

  // covers C19
  it('is another one for every other operation', () => {
    fc.assert(
      fc.property(operation, operation, (a, b) => {
        const same = a.gid === b.gid && a.branch === b.branch && a.op === b.op;
        expect(webhookId(a) === webhookId(b)).toBe(same);
      }),
    );
  });
});

describe('traceparent', () => {
  it('shares the trace among the calls of a transaction, and the span with nobody', () => {
    const [first, second] = [traceparentOf(call), traceparentOf({ ...call, attempt: 4 })];
    expect(first).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(second.slice(0, 35)).toBe(first.slice(0, 35));
    expect(second).not.toBe(first);
  });
});
