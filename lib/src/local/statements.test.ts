import { describe, expect, test } from 'vitest';
import { leavesSessionState, refuseTransactionControl } from './statements.ts';

function isRefused(text: string): boolean {
  try {
    refuseTransactionControl(text, 'order');
    return false;
  } catch {
    return true;
  }
}

describe('transaction control', () => {
  test.each([
    'begin',
    'BEGIN',
    'Begin Work',
    'begin;',
    'begin immediate',
    'begin isolation level serializable',
    'start transaction',
    'START\n  TRANSACTION read only',
    'commit',
    'COMMIT;',
    'commit and chain',
    'commit prepared $1',
    'end',
    'rollback',
    'rollback to savepoint a',
    'abort',
    'savepoint a',
    'SAVEPOINT a',
    'release a',
    'release savepoint a',
    "prepare transaction 'x'",
    'set transaction isolation level serializable',
    'set session transaction read only',
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
    'set autocommit = 1',
    'set session autocommit=0',
    'set @@autocommit = 0',
    "xa start 'x'",
    'XA END "x"',
    '  commit',
    '\n\tcommit',
    '-- done\ncommit',
    '/* done */ commit',
    '/* a */ -- b\n /* c\n * d */\nCOMMIT',
    '# done\ncommit',
    ';commit',
    ' ; ; rollback',
  ])('is refused: %j', (text) => {
    expect(isRefused(text)).toBe(true);
  });

  test.each([
    'select 1',
    'insert into orders values (1)',
    "update orders set state = 'commit'",
    'delete from savepoints',
    'with begin as (select 1) select * from begin',
    'with done as (delete from orders returning *) insert into archive select * from done',
    'select begin from shifts',
    'select "end" from shifts',
    'comment on table orders is $1',
    'create table commits (id int)',
    'alter table shifts rename begin to start',
    'endless_procedure()',
    'abort_all()',
    'released',
    'prepare plan as select 1',
    'explain begin_table',
    'set local lock_timeout = 10',
    'set constraints all deferred',
    'begin not atomic select 1; end',
    'xact',
    '',
    '   ',
    '--',
    '-- commit',
    '/* commit */ select 1',
    '/* commit',
    "values ('rollback')",
    'table orders',
    'Id',
    'Use orders',
  ])('is not: %j', (text) => {
    expect(isRefused(text)).toBe(false);
  });

  test('is refused with the label and the statement in the message, shortened', () => {
    const text = `commit /* ${'x'.repeat(100)} */`;
    expect(() => refuseTransactionControl(text, 'order')).toThrow(
      /^statement_refused: order: "commit [^"]{33}" would/,
    );
  });

  test('is found in little time before any text', () => {
    const beganMs = performance.now();
    for (const text of [
      ' '.repeat(1e6),
      '/*'.repeat(1e6),
      '--\n'.repeat(1e6),
      `${'-- x\n /**/'.repeat(1e5)}!`,
    ]) {
      expect(isRefused(text)).toBe(false);
      expect(leavesSessionState(text, 'postgres')).toBe(false);
    }
    expect(performance.now() - beganMs).toBeLessThan(1_000);
  });
});

describe('state of the session', () => {
  test.each([
    'set search_path = app',
    "SET TIME ZONE 'UTC'",
    'set session statement_timeout = 0',
    "set names 'utf8'",
    'set @total = 0',
    'set role admin',
    'listen orders',
    'prepare plan as select 1',
    'declare c cursor with hold for select 1',
    'create temp table t (id int)',
    'CREATE TEMPORARY TABLE t (id int)',
    'create local temporary table t (id int)',
    'create or replace temporary table t (id int)',
    'create or replace temp view v as select 1',
    'select * into temp t from orders',
    'select * into temporary table t from orders',
    'lock tables orders write',
    'lock table orders read',
    'use shop',
    'USE shop',
    "load 'auto_explain'",
    'select pg_advisory_lock(1)',
    'select pg_try_advisory_lock(1)',
    'SELECT pg_advisory_lock_shared(1)',
    "select get_lock('a', 1)",
    "select set_config('app.tenant', $1, false)",
    "select set_config('app.a', $1, true), set_config('app.b', $2, false)",
    'select @total := 1',
    'select id, @n:=@n+1 from orders',
    'call p()',
    'do $$ begin perform 1; end $$',
    '/* why */ set search_path = app',
    '-- why\nlisten orders',
  ])('is left by %j', (text) => {
    expect(leavesSessionState(text, 'postgres')).toBe(true);
  });

  test.each([
    'select 1',
    'select @@version',
    'select pg_advisory_xact_lock(1)',
    'select pg_try_advisory_xact_lock(1)',
    "select set_config('app.tenant', $1, true)",
    "SELECT set_config('app.tenant', $1, TRUE), set_config('app.user', $2, true)",
    'set constraints all deferred',
    'set transaction read only',
    'insert into settings values (1)',
    'update settings set value = 1',
    'delete from t',
    'create table t (id int)',
    'create index concurrently i on t (id)',
    'declare c cursor for select 1',
    'lock table orders in exclusive mode',
    'lock table only a, b in access share mode nowait',
    'with t as (select 1) select * from t',
    'unlock',
    'using',
    '',
  ])('is not left by %j', (text) => {
    expect(leavesSessionState(text, 'postgres')).toBe(false);
  });
});

test('LOCAL is local to the transaction on PostgreSQL, and to the session on MySQL', () => {
  const text = '/* ours */ SET LOCAL sql_mode = 0';
  expect(leavesSessionState(text, 'postgres')).toBe(false);
  expect(leavesSessionState(text, 'mysql')).toBe(true);
});
