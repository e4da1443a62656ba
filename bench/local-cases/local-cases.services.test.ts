// The verdicts of a few peers whose behaviour is known, so that a judge who has gone blind is noticed.
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { createNoteDatabase, type NoteDatabase } from './database.ts';
import { runCell } from './run-cell.ts';

let database: NoteDatabase;
beforeAll(async () => {
  database = await createNoteDatabase(inject('services').postgres);
});
beforeEach(() => database.clear());
afterAll(() => database.drop());

function judge(peer: string, number: number, limitMs?: number) {
  const order = { peer, case: number, url: database.url };
  return runCell(limitMs === undefined ? order : { ...order, limitMs });
}

describe('a helper written by hand on pg', () => {
  test.each([
    [2, 'reports a success of which nothing is stored', 'wrong', 'call returned; stored: nothing'],
    [3, 'loses a row of a scope that returned', 'wrong', 'first returned, .*; stored: outer, a2$'],
    [4, 'takes a nested scope back with the outer one', 'right', 'stored: nothing$'],
    [5, 'keeps new transactions apart', 'right', "stored: outer, a1, a2, a3, the first's by 1 transaction$"],
    [
      8,
      "writes in another request's transaction",
      'wrong',
      'late query returned; stored: first: it was part',
    ],
    [9, 'writes after the rollback', 'wrong', 'other branch returned; stored: a2$'],
    [10, 'writes after the commit', 'wrong', 'stored: outer, late, the late row by itself'],
    [12, 'writes outside where its pool is used', 'right', 'stored: listener$'],
  ])('%i: %s', async (number, _title, kind, detail) => {
    expect(await judge('pg', number)).toEqual({
      kind,
      detail: expect.stringMatching(detail),
    });
  });

  test('hangs when it needs a second connection and there is one', async () => {
    expect(await judge('pg', 6, 500)).toEqual({ kind: 'hangs', detail: 'no answer after 0.5 s' });
  });

  test('is not asked for what it does not offer', async () => {
    expect(await judge('pg', 11)).toEqual({ kind: 'n/a', detail: 'no hook after the commit' });
  });
});

describe('Knex', () => {
  test.each([
    [3, 'runs nested scopes one after the other', 'right', 'stored: outer, a1, a2$'],
    [8, 'refuses a query after the end', 'right', 'late query threw .*already complete.*; stored: first$'],
  ])('%i: %s', async (number, _title, kind, detail) => {
    expect(await judge('knex', number)).toEqual({
      kind,
      detail: expect.stringMatching(detail),
    });
  });
});

describe('typeorm-transactional', () => {
  test.each([
    [1, 'commits although a joined scope failed', 'wrong', 'call returned; stored: outer, inner$'],
    [4, 'keeps what a nested scope wrote when the outer one fails', 'wrong', 'stored: nested$'],
    [11, "lets nobody catch a hook's error", 'wrong', 'call returned; stored: outer; nobody could catch'],
  ])('%i: %s', async (number, _title, kind, detail) => {
    expect(await judge('typeorm-transactional', number)).toEqual({
      kind,
      detail: expect.stringMatching(detail),
    });
  });
});

test('a peer that is not there is an error, and no verdict', async () => {
  await expect(judge('nobody', 1)).rejects.toThrow('no peer nobody; there are settle, ');
});
