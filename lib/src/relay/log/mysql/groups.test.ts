import { beforeEach, describe, expect, it } from 'vitest';
import { type BinlogEvent, firstKey, xidIn } from './events.ts';
import { branchesMax, Groups } from './groups.ts';

const group: BinlogEvent = { kind: 'group', isAlone: false };
const types = Uint8Array.of(3, 8, 252);
const table: BinlogEvent = { kind: 'table', id: 7, schema: 'shop', name: 'settle_outbox', types };
const rows = {
  columns: 3,
  present: Uint8Array.of(7),
  values: Uint8Array.of(0xf8, 5, 0, 0, 0, 44, 1, 0, 0, 0, 0, 0, 0),
};
const insert: BinlogEvent = { kind: 'insert', table: 7, rows };
const row = { lane: 5n, seq: 300n };
const commit: BinlogEvent = { kind: 'commit' };

function statement(text: string): BinlogEvent {
  return { kind: 'statement', text };
}

let groups: Groups;
beforeEach(() => (groups = new Groups('shop', 'settle_outbox')));

/** What each of these events comes to; those that come to nothing left out. */
function outcomes(...events: readonly BinlogEvent[]): unknown[] {
  return events.map((event) => groups.next(event)).filter(({ kind }) => kind !== 'nothing');
}

describe('a transaction of the log', () => {
  it('counts when it inserted, with the key of its first row', () => {
    expect(outcomes(group, table, insert, insert, commit)).toEqual([{ kind: 'committed', row }]);
  });

  it.each<[string, BinlogEvent]>([
    ['another table', { kind: 'table', id: 7, schema: 'shop', name: 'orders', types }],
    [
      'a table of that name in another database',
      { kind: 'table', id: 7, schema: 'other', name: 'settle_outbox', types },
    ],
    [
      'a table whose name only begins so',
      { kind: 'table', id: 7, schema: 'shop', name: 'settle_outbox_dead', types },
    ],
  ])('passes when it inserted into %s', (_, other) => {
    expect(outcomes(group, other, insert, commit)).toEqual([{ kind: 'passed' }]);
  });

  it('passes when it only changed or deleted', () => {
    expect(outcomes(group, table, { kind: 'other' }, commit)).toEqual([{ kind: 'passed' }]);
  });

  it('is none of the next one', () => {
    expect(outcomes(group, table, insert, commit, group, commit)).toEqual([
      { kind: 'committed', row },
      { kind: 'passed' },
    ]);
    // The number of the table is another one's now.
    expect(outcomes(group, insert, commit)).toEqual([{ kind: 'passed' }]);
  });

  it('counts without a row when its statement names the table, when it is compressed, or sealed', () => {
    const unknown = { kind: 'committed', row: undefined };
    expect(outcomes(group, statement('insert into `settle_outbox` values (1)'), commit)).toEqual([unknown]);
    expect(outcomes(group, { kind: 'statement', text: undefined }, commit)).toEqual([unknown]);
    expect(outcomes(group, table, { ...insert, rows: undefined }, commit)).toEqual([unknown]);
    expect(outcomes({ kind: 'sealed' })).toEqual([unknown]);
    expect(outcomes(group, statement('insert into settle_outbox_dead values (1)'), commit)).toEqual([
      { kind: 'passed' },
    ]);
  });

  it('of one statement ends with it', () => {
    const alone: BinlogEvent = { kind: 'group', isAlone: true };
    expect(outcomes(alone, statement('create table orders (id int)'))).toEqual([{ kind: 'passed' }]);
    expect(outcomes(alone, statement('truncate settle_outbox'))).toEqual([
      { kind: 'committed', row: undefined },
    ]);
    expect(outcomes(alone, statement('BEGIN'), table, insert, commit)).toEqual([{ kind: 'committed', row }]);
  });

  it('passes when it was rolled back, but not when a part of it was', () => {
    expect(outcomes(group, table, insert, statement('ROLLBACK'))).toEqual([{ kind: 'passed' }]);
    expect(outcomes(group, table, insert, statement('ROLLBACK TO a'), commit)).toEqual([
      { kind: 'committed', row },
    ]);
  });
});

describe('an XA branch', () => {
  const prepare: BinlogEvent = { kind: 'prepare', xid: '6131:62:1', isOnePhase: false };
  const xaCommit = statement(`XA COMMIT X'6131',X'62',1`);

  it('counts when it is committed, not when it is prepared', () => {
    expect(outcomes(group, table, insert, prepare)).toEqual([{ kind: 'passed' }]);
    expect(outcomes(group, xaCommit)).toEqual([{ kind: 'committed', row }]);
  });

  it('passes when it is rolled back, or was of others', () => {
    expect(outcomes(group, table, insert, prepare, group, statement(`XA ROLLBACK X'6131',X'62',1`))).toEqual([
      { kind: 'passed' },
      { kind: 'passed' },
    ]);
    expect(outcomes(group, prepare, group, xaCommit)).toEqual([{ kind: 'passed' }, { kind: 'passed' }]);
  });

  it('that was prepared before we read counts without a row', () => {
    expect(outcomes(group, xaCommit)).toEqual([{ kind: 'committed', row: undefined }]);
  });

  it('in one phase counts at once', () => {
    expect(outcomes(group, table, insert, { ...prepare, isOnePhase: true })).toEqual([
      { kind: 'committed', row },
    ]);
  });

  it('that is forgotten among too many counts without a row', () => {
    outcomes(group, table, insert, prepare);
    for (let n = 0; n < branchesMax; n++)
      outcomes(group, { kind: 'prepare', xid: `n${n}`, isOnePhase: false });
    expect(outcomes(group, xaCommit)).toEqual([{ kind: 'committed', row: undefined }]);
  });

  it('is known by its name however that is written', () => {
    expect(xidIn(`XA COMMIT X'6131',X'62',1`)).toBe('6131:62:1');
    expect(xidIn(`xa commit x'AB'`)).toBe('ab::1');
    expect(xidIn(`XA COMMIT 'text'`)).toBeUndefined();
  });
});

describe('the key of a row', () => {
  it('is not known when its columns are no whole numbers, or are not there', () => {
    expect(firstKey(rows, types)).toEqual(row);
    expect(firstKey(rows, Uint8Array.of(252, 8, 3))).toBeUndefined();
    expect(firstKey({ ...rows, present: Uint8Array.of(6) }, types)).toBeUndefined();
  });
});
