/**
 * The versions of Settle's own tables in a database of the user, and how they get there.
 *
 * - V1 Of several processes that migrate at once, one does and the others wait for it.
 * - V2 The version is written together with, or after, what it stands for: a migration that broke off is done again, and its
 *   statements bear that.
 * - V3 A version that is newer than this program's is left as it is, and refused.
 */
import { SettleError } from '../util/errors.ts';
import type { Dialect } from './dialect.ts';
import type { Driver } from './driver.ts';
import { ownStatements, type OwnStatements, type RunSql } from './own-statements.ts';

export interface Schema {
  /** Under which `settle_schema` has its version. */
  readonly name: string;
  /** The call that creates the tables, for messages: `migrateOutbox(driver)`. */
  readonly migrateWith: string;
  /** For each database the statements of version 1, of version 2, and so on. Each has to bear being run again. */
  readonly versions: ForEachDatabase<readonly (readonly string[])[]>;
}

export type ForEachDatabase<T> = Readonly<Record<Dialect['name'], T>>;

/** Statements for a database that has none of the tables. */
export type Migration = ForEachDatabase<readonly string[]>;

export function migrationOf({ name, versions }: Schema): Migration {
  const textsOf = (database: Dialect['name']): readonly string[] => [
    versionTables[database],
    ...versions[database].flat(),
    setVersion[database](name, versions[database].length),
  ];
  return { postgres: textsOf('postgres'), mysql: textsOf('mysql'), sqlite: textsOf('sqlite') };
}

/** Brings the tables to this program's version. Throws `store_newer` when theirs is newer. */
export async function migrateSchema(driver: Driver<unknown>, schema: Schema): Promise<void> {
  const statements = ownStatements(driver, { label: schema.name, migrateWith: schema.migrateWith });
  const database = driver.dialect.name;
  const versions = schema.versions[database];
  if ((await versionOf(statements, schema)) === versions.length) return;
  await serialized(statements, database, async (run) => {
    await run(versionTables[database], []);
    // Somebody else may have done it meanwhile.
    const version = checkedVersion(schema, database, (await run(selectVersion(schema), [])).rows[0]);
    for (const sql of versions.slice(version).flat()) await run(sql, []);
    if (version < versions.length) await run(setVersion[database](schema.name, versions.length), []);
  });
}

/** 0 when there are none. Throws `store_newer` (V3). */
async function versionOf(statements: OwnStatements, schema: Schema): Promise<number> {
  try {
    const { rows } = await statements.query(selectVersion(schema), []);
    return checkedVersion(schema, statements.database, rows[0]);
  } catch (error) {
    if (error instanceof SettleError && error.code === 'tables_missing') return 0;
    throw error;
  }
}

/** The version in a row of `settle_schema`; 0 without one. Throws `store_newer` (V3). */
export function checkedVersion(schema: Schema, database: Dialect['name'], row: unknown): number {
  const isRow = typeof row === 'object' && row !== null && 'version' in row;
  const version = isRow ? Number(row.version ?? 0) : 0;
  const known = schema.versions[database].length;
  if (version <= known) return version;
  throw new SettleError(
    'store_newer',
    `the tables of the ${schema.name} have version ${version}, and this program knows ${known}`,
    { next: 'Start the release that migrated them, or a newer one' },
  );
}

/** V1 */
async function serialized(
  statements: OwnStatements,
  database: Dialect['name'],
  work: (run: RunSql) => Promise<void>,
): Promise<void> {
  switch (database) {
    case 'postgres':
      // `if not exists` does not keep two sessions from creating the same table at once.
      return await statements.transaction(async (run) => {
        await run('select pg_advisory_xact_lock(7271020392)', []);
        await work(run);
      });
    case 'sqlite':
      return await statements.transaction(work);
    case 'mysql':
      // DDL commits there: no transaction would hold, and a named lock outlives it.
      return await statements.session(async (run) => {
        await lockMysql(run);
        try {
          await work(run);
        } finally {
          await run(`select release_lock(${mysqlLock}) as gone`, []);
        }
      });
  }
}

async function lockMysql(run: RunSql): Promise<void> {
  const { rows } = await run(`select get_lock(${mysqlLock}, 20) as got`, []);
  const [row] = rows;
  if (typeof row === 'object' && row !== null && 'got' in row && Number(row.got) === 1) return;
  throw new SettleError('unavailable', 'another process has been migrating for more than 20 s', {
    next: 'Start again when it is done',
    retryAfterMs: 10_000,
  });
}

/** Names of locks are the whole server's. */
const mysqlLock = "concat('settle_schema ', md5(database()))";

function selectVersion({ name }: Schema): string {
  return `select version from settle_schema where name = '${name}'`;
}

const versionTables: ForEachDatabase<string> = {
  postgres:
    'create table if not exists settle_schema (name text collate "C" primary key, version int not null)',
  mysql: `create table if not exists settle_schema (name varchar(64) not null primary key, version int not null)
    engine = InnoDB default character set utf8mb4 collate utf8mb4_bin`,
  sqlite:
    'create table if not exists settle_schema (name text not null primary key, version integer not null) without rowid',
};

type SetVersion = (name: string, version: number) => string;

const setVersion: ForEachDatabase<SetVersion> = {
  postgres: upsertVersion,
  mysql: (name, version) =>
    `insert into settle_schema (name, version) values ('${name}', ${version}) on duplicate key update version = ${version}`,
  sqlite: upsertVersion,
};

function upsertVersion(name: string, version: number): string {
  return `insert into settle_schema (name, version) values ('${name}', ${version}) on conflict (name) do update set version = excluded.version`;
}
