import { describe, expect, it } from 'vitest';
import { errorCodes, SettleError } from '../util/errors.ts';
import { codeOf, fromProblem, retryAfterSeconds, statusOf, toProblem } from './problem.ts';
import { parse } from './schema.ts';
import { problemSchema } from './transaction.ts';

function after(retryAfterMs: number): number | undefined {
  return retryAfterSeconds(toProblem(new SettleError('overloaded', 'what', { retryAfterMs })));
}

describe('a problem', () => {
  it.each(errorCodes)('of code %s comes back as the error it was', (code) => {
    const error = new SettleError(code, 'what happened', {
      gid: 'g-1',
      next: 'do this',
      retryAfterMs: 1_500,
      issues: [{ path: '/a', message: 'is missing' }],
    });
    const problem = toProblem(error);
    expect(parse(problemSchema, problem).kind).toBe('valid');
    expect(problem).toMatchObject({
      type: `urn:settle:error:${code}`,
      status: statusOf(code),
      detail: 'what happened',
    });
    const back = fromProblem(problem.status, JSON.parse(JSON.stringify(problem)));
    expect(back).toEqual(error);
    expect(back).toMatchObject({
      code,
      gid: 'g-1',
      next: 'do this',
      retryAfterMs: 1_500,
      issues: error.issues,
    });
  });

  it.each(errorCodes)('of code %s always says what to do', (code) => {
    const problem = toProblem(new SettleError(code, 'what'));
    expect(problem.next).toMatch(/^[A-Z].{10}/);
    expect(problem.status).toBeGreaterThanOrEqual(400);
  });

  it('takes the gid of the request when the error has none', () => {
    expect(toProblem(new SettleError('invalid_definition', 'what'), 'g-2').gid).toBe('g-2');
    expect(toProblem(new SettleError('invalid_definition', 'what', { gid: 'g-1' }), 'g-2').gid).toBe('g-1');
  });

  // covers A24
  it('says when to ask again in whole seconds, at least one, where that can help', () => {
    expect([after(0), after(1), after(1_000), after(1_001)]).toEqual([1, 1, 1, 2]);
    expect(retryAfterSeconds(toProblem(new SettleError('unavailable', 'what')))).toBe(1);
    expect(retryAfterSeconds(toProblem(new SettleError('gid_conflict', 'what')))).toBeUndefined();
  });
});

describe('fromProblem', () => {
  it.each([
    [502, 'unavailable'],
    [503, 'unavailable'],
    [504, 'unavailable'],
    [500, 'internal'],
    [429, 'overloaded'],
    [404, 'no_such_route'],
    [403, 'unauthenticated'],
    [418, 'invalid_request'],
  ] as const)('reads a bare %i as %s', (status, code) => {
    for (const body of [undefined, null, '<html>', {}, { code: 'made_up' }, { code: 'constructor' }]) {
      expect(fromProblem(status, body).code).toBe(code);
    }
    expect(codeOf(status)).toBe(code);
  });

  it('does not trust the members of a body', () => {
    const error = fromProblem(
      409,
      {
        code: 'gid_conflict',
        detail: 1,
        gid: {},
        issues: [{ path: 1 }, { path: '/a', message: 'm' }],
        retryAfterMs: 'x',
      },
      '3',
    );
    expect(error).toMatchObject({
      code: 'gid_conflict',
      gid: undefined,
      retryAfterMs: 3_000,
      issues: [{ path: '/a', message: 'm' }],
    });
    expect(fromProblem(503, undefined, 'soon').retryAfterMs).toBeUndefined();
  });
});
