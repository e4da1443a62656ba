import { describe, expect, test } from 'vitest';
import { mysqlDialect, postgresDialect, sqliteDialect } from './dialect.ts';
import { positionQuestions, refuseForeign, replicaQuestion, replicaStateOf } from './replication.ts';

const uuid = '3e11fa47-71ca-11e1-9e33-c80aa9429562';

describe('where the log stands', () => {
  test('PostgreSQL is asked for what is flushed, and for what is written where a COMMIT does not wait for that', () => {
    const questions = positionQuestions(postgresDialect);
    expect(questions?.before).toMatch(/synchronous_commit/);
    for (const before of ['on', 'local', 'remote_write', 'remote_apply']) {
      expect(questions?.after(before)).toMatch(/\|\| pg_current_wal_flush_lsn\(\)$/);
    }
    expect(questions?.after('off')).toMatch(/\|\| pg_current_wal_insert_lsn\(\)$/);
    expect(questions?.positionOf('0000000A 1/1F040C58')).toEqual({
      kind: 'postgres',
      timeline: '0000000A',
      lsn: '1/1F040C58',
    });
  });

  test('MariaDB and MySQL are told apart by what they answer', () => {
    const questions = positionQuestions(mysqlDialect);
    expect(questions?.before).toBeUndefined();
    expect(questions?.positionOf('0-1-40,1-2-3')).toEqual({ kind: 'mariadb', gtids: ['0-1-40', '1-2-3'] });
    expect(questions?.positionOf(`${uuid}:1-5,\n${uuid}:9`)).toEqual({
      kind: 'mysql',
      gtids: [`${uuid}:1-5`, `${uuid}:9`],
    });
    for (const nothing of ['', null, undefined]) {
      expect(questions?.positionOf(nothing)).toEqual({ kind: 'unknown' });
    }
  });

  test('SQLite has none', () => expect(positionQuestions(sqliteDialect)).toBeUndefined());
});

describe('whether a replica has come there', () => {
  test('MariaDB waits on the server, for each GTID, and only behind the same primaries', () => {
    const question = replicaQuestion({ kind: 'mariadb', gtids: ['0-1-40', '7-2-3'] }, 1_234.5678);
    expect(question).toContain("master_gtid_wait('0-1-40,7-2-3', 1.235)");
    expect(question).toContain("like '%,0-1-%' and concat(',', @@global.gtid_slave_pos) like '%,7-2-%'");
    expect(replicaQuestion({ kind: 'mariadb', gtids: ['0-1-40'] }, -1)).toContain("'0-1-40', 0.000)");
  });

  test('MySQL is never asked to wait for 0 seconds, which means for ever', () => {
    expect(replicaQuestion({ kind: 'mysql', gtids: [`${uuid}:1-5`] }, 0)).toContain(`('${uuid}:1-5', 0.001)`);
  });

  test('PostgreSQL compares on the same timeline only', () => {
    const question = replicaQuestion({ kind: 'postgres', timeline: '0000000A', lsn: '1/FF' }, 1_000);
    expect(question).toContain("'1/FF'::pg_lsn");
    expect(question).toMatch(/greatest\([^=]*= 10 then 'reached'/);
  });

  test('any answer but the three is an error', () => {
    expect(replicaStateOf('reached')).toBe('reached');
    for (const answer of [undefined, null, '', 'true', 0]) {
      expect(() => replicaStateOf(answer)).toThrow(/answered/);
    }
  });
});

test('a token of another kind of database is refused, MySQL and MariaDB being one kind of driver', () => {
  const postgres = { kind: 'postgres', timeline: '00000001', lsn: '0/0' } as const;
  const mariadb = { kind: 'mariadb', gtids: ['0-1-40'] } as const;
  expect(() => refuseForeign(postgres, mysqlDialect)).toThrow(/^invalid_request/);
  expect(() => refuseForeign(mariadb, postgresDialect)).toThrow(/^invalid_request/);
  refuseForeign(postgres, postgresDialect);
  refuseForeign(mariadb, mysqlDialect);
  refuseForeign({ kind: 'mysql', gtids: [`${uuid}:1`] }, mysqlDialect);
  for (const dialect of [postgresDialect, mysqlDialect, sqliteDialect])
    refuseForeign({ kind: 'unknown' }, dialect);
});
