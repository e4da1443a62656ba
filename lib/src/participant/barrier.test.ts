import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBranchName, parseGid } from '../core/ids.ts';
import type { Op } from '../core/outcome.ts';
import { Refused } from '../define/answers.ts';
import type { Json } from '../util/json.ts';
import { BarrierModel, type ModelCall, type Undoing } from '../../../test/barrier/model.ts';
import type { Answer } from './answer.ts';
import { barrier, begin, type BarrierRow, type BarrierTransaction } from './barrier.ts';

const gid = parseGid('g');
const branch = parseBranchName('b');
const done: Answer = { kind: 'done' };
const anyRefusal = { kind: 'refused', reason: expect.any(String) as unknown };

const refuse = (reason: string) => (): Answer => ({ kind: 'refused', reason });
const seven = (): Answer => ({ kind: 'done', result: { id: 7 } });
const large = (): Answer => ({ kind: 'done', result: 'ü'.repeat(40_000) });
const broken = (): Answer => {
  throw new Error('broken');
};

/** A database as small as can be: one transaction at a time, with rollback. Answers at once, or later. */
class Table {
  rows = new Map<string, BarrierRow>();
  /** What business code did, in the order it committed. */
  effects: string[] = [];
  readonly later: boolean;

  constructor(later = false) {
    this.later = later;
  }

  async call(
    op: Op,
    work: () => Answer | Promise<Answer> = () => done,
    crash = false,
  ): Promise<Answer | Error> {
    const [rows, effects] = [new Map(this.rows), [...this.effects]];
    try {
      const answer = await barrier(
        this.transaction(),
        { gid, branch, op },
        async (): Promise<Json | undefined> => {
          this.effects.push(op);
          const came = await work();
          if (came.kind === 'refused') throw new Refused(came.reason);
          return came.result;
        },
      );
      if (crash) throw new Error('crashed before the commit');
      return answer;
    } catch (error) {
      this.rows = rows;
      this.effects = effects;
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  async begin(op: Op): Promise<void> {
    await begin(this.transaction(), { gid, branch, op });
  }

  private transaction(): BarrierTransaction {
    const give = <T>(value: T): T | Promise<T> => (this.later ? Promise.resolve(value) : value);
    return {
      place: (row) => {
        const there = this.rows.get(row.op);
        if (there === undefined) this.rows.set(row.op, row);
        return give(there);
      },
      find: (key) => give(this.rows.get(key.op)),
      answer: (key, answer) => {
        const row = this.rows.get(key.op);
        if (row !== undefined) this.rows.set(key.op, { ...row, answer });
      },
      nested: async (work) => {
        const saved = [...this.effects];
        try {
          return await work();
        } catch (error) {
          this.effects = saved;
          throw error;
        }
      },
    };
  }
}

describe.each([false, true])('the barrier, over a driver that answers %s', (later) => {
  // covers B2, B3, C2
  it('runs an operation once and gives its answer to every repeat', async () => {
    const table = new Table(later);
    for (let i = 0; i < 3; i++)
      expect(await table.call('action', seven)).toEqual({ kind: 'done', result: { id: 7 } });
    expect(table.effects).toEqual(['action']);
  });

  it('keeps a refusal, and rolls back what led to it', async () => {
    const table = new Table(later);
    expect(await table.call('try', refuse('no money'))).toEqual({ kind: 'refused', reason: 'no money' });
    expect(await table.call('try')).toEqual({ kind: 'refused', reason: 'no money' });
    expect(table.effects).toEqual([]);
  });

  // covers C1
  it('leaves nothing of an operation that failed', async () => {
    const table = new Table(later);
    expect(await table.call('action', broken)).toEqual(new Error('broken'));
    expect(table.rows.size).toBe(0);
    expect(await table.call('action')).toEqual(done);
  });

  it.each([
    ['action', 'compensate'],
    ['try', 'cancel'],
  ] as const)('%s and %s: undoes once what was done', async (first, undo) => {
    const table = new Table(later);
    await table.call(first);
    for (let i = 0; i < 2; i++) expect(await table.call(undo)).toEqual(done);
    expect(table.effects).toEqual([first, undo]);
    expect(await table.call(first)).toEqual(done);
    expect(table.effects).toEqual([first, undo]);
  });

  // covers B4, B5
  it.each([
    ['action', 'compensate'],
    ['try', 'cancel'],
  ] as const)(
    '%s and %s: undoes nothing where nothing came, and refuses what comes then',
    async (first, undo) => {
      const table = new Table(later);
      for (let i = 0; i < 2; i++) expect(await table.call(undo)).toEqual(done);
      for (let i = 0; i < 2; i++)
        expect(await table.call(first)).toEqual({
          kind: 'refused',
          reason: `suspended: ${undo} came before ${first}`,
        });
      expect(table.effects).toEqual([]);
    },
  );

  it('undoes nothing of what was refused', async () => {
    const table = new Table(later);
    await table.call('action', refuse('no'));
    expect(await table.call('compensate')).toEqual(done);
    expect(table.effects).toEqual([]);
  });

  it('does not keep the refusal of an undo: it has to be done in the end', async () => {
    const table = new Table(later);
    await table.call('action');
    expect(await table.call('compensate', refuse('never'))).toBeInstanceOf(Refused);
    expect(await table.call('compensate')).toEqual(done);
    expect(table.effects).toEqual(['action', 'compensate']);
  });

  it('confirms what was tried, once, and nothing else', async () => {
    const table = new Table(later);
    expect(await table.call('confirm')).toMatchObject({ code: 'barrier_conflict' });
    await table.call('try');
    for (let i = 0; i < 2; i++) expect(await table.call('confirm')).toEqual(done);
    expect(table.effects).toEqual(['try', 'confirm']);
    const refused = new Table(later);
    await refused.call('try', refuse('no'));
    expect(await refused.call('confirm')).toMatchObject({ code: 'barrier_conflict' });
    const cancelled = new Table(later);
    await cancelled.call('cancel');
    expect(await cancelled.call('confirm')).toMatchObject({ code: 'barrier_conflict' });
  });

  // covers B6
  it.each([
    ['confirm', 'cancel'],
    ['cancel', 'confirm'],
  ] as const)('after %s refuses to %s', async (first, second) => {
    const table = new Table(later);
    await table.call('try');
    await table.call(first);
    expect(await table.call(second)).toMatchObject({ code: 'barrier_conflict' });
    expect(table.effects).toEqual(['try', first]);
  });

  // covers A19
  it('answers a check-back by whether the local transaction committed, and stops the one that comes late', async () => {
    const committed = new Table(later);
    await committed.call('action', () => ({ kind: 'done', result: 3 }));
    expect(await committed.call('check')).toEqual(done);
    const missing = new Table(later);
    for (let i = 0; i < 2; i++) expect(await missing.call('check')).toEqual(anyRefusal);
    expect(await missing.call('action')).toEqual({
      kind: 'refused',
      reason: 'suspended: check came before action',
    });
    expect(missing.effects).toEqual([]);
    const refused = new Table(later);
    await refused.call('action', refuse('no'));
    expect(await refused.call('check')).toEqual({ kind: 'refused', reason: 'no' });
  });

  it('refuses to keep an answer of more than 64 KiB, and rolls back', async () => {
    const table = new Table(later);
    expect(await table.call('action', large)).toMatchObject({ code: 'limit_exceeded' });
    expect(table.rows.size).toBe(0);
  });

  it('does not guess at a row it cannot read', async () => {
    for (const answer of ['{}', 'null', '{"kind":"refused"}', undefined]) {
      const table = new Table(later);
      table.rows.set('action', { gid, branch, op: 'action', by: 'action', answer });
      expect(await table.call('action')).toMatchObject({ code: 'barrier_conflict' });
    }
  });
});

it('stays within one turn as long as driver and work answer at once', () => {
  const t: BarrierTransaction = {
    place: () => undefined,
    find: () => undefined,
    answer: () => undefined,
    nested: (work) => work(),
  };
  expect(barrier(t, { gid, branch, op: 'action' }, () => 1)).toEqual({ kind: 'done', result: 1 });
});

const step = (ops: Op[]): fc.Arbitrary<ModelCall & { readonly crash: boolean }> =>
  fc.record({
    op: fc.constantFrom(...ops),
    begin: fc.boolean(),
    work: fc.constantFrom('does', 'refuses', 'fails'),
    crash: fc.boolean(),
  });

describe('calls that come duplicated, late, reordered, and cut off by crashes', () => {
  // covers C1
  it.each([
    ['action', 'compensate', ['action', 'compensate']],
    ['try', 'cancel', ['try', 'confirm', 'cancel']],
  ] as ['action' | 'try', Undoing, Op[]][])(
    '%s and %s: take effect at most once, in order, as a model says',
    async (first, undo, ops) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step(ops), { maxLength: 12 }), fc.boolean(), async (steps, later) => {
          const table = new Table(later);
          const model = new BarrierModel(undo);
          let begun = false;
          for (const { crash, ...call } of steps) {
            if (call.begin) {
              begun ||= call.op === first;
              model.begin(call.op);
              await table.begin(call.op);
            }
            const before = model.copy();
            const came = await table.call(call.op, workOf(call), crash);
            const says = model.call(call);
            if (crash) model.become(before);
            expect(came instanceof Error ? 'error' : came.kind).toBe(crash ? 'error' : says);
          }
          expect(table.effects).toEqual(model.effects);
          // I6: no operation twice. I7: no undo without its first, no first after its undo.
          expect(new Set(table.effects).size).toBe(table.effects.length);
          expect(
            table.effects.includes(undo) && table.effects.indexOf(first) > table.effects.indexOf(undo),
          ).toBe(false);
          // P8: what was begun may have left something elsewhere.
          expect(table.effects.includes(undo) && !table.effects.includes(first) && !begun).toBe(false);
        }),
        { numRuns: 2_000 },
      );
    },
  );
});

function workOf({ work }: Pick<ModelCall, 'work'>): () => Answer {
  switch (work) {
    case 'does':
      return () => done;
    case 'refuses':
      return refuse('no');
    case 'fails':
      return broken;
  }
}
