/** What Kysely takes for a connection, and MikroORM, which is built on it: statements on the handles of a driver of ours. */
import type { Driver, Gate } from '../driver.ts';
import { onTurn, refuse } from './orm.ts';
import { givesRows } from './sqlite.ts';

export interface KyselyConnectionProvider {
  provideConnection<T>(consumer: (connection: KyselyConnection) => Promise<T>): Promise<T>;
}

export interface KyselyConnection {
  executeQuery<Row>(query: KyselyQuery, options?: KyselyQueryOptions): Promise<KyselyResult<Row>>;
  streamQuery(): never;
}

interface KyselyQuery {
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

interface KyselyQueryOptions {
  readonly signal?: AbortSignal;
}

interface KyselyResult<Row> {
  readonly rows: Row[];
  readonly numAffectedRows?: bigint;
  readonly numChangedRows?: bigint;
  readonly insertId?: bigint;
}

export interface KyselyConnections {
  /** Each statement is on its own. */
  readonly outside: KyselyConnection;
  /** Of one scope: whatever runs on it goes through its gate. */
  within(gate: Gate<unknown>): KyselyConnection;
}

/** Undefined over a driver that is not known here. */
export function kyselyConnections(base: Driver<object>): KyselyConnections | undefined {
  const query = queryOn(base);
  if (query === undefined) return undefined;
  return {
    outside: connectionOf((compiled) => query(base.outside, compiled)),
    within(gate) {
      let handle: object | undefined;
      return connectionOf((compiled, options) =>
        gate.run(async (connection) => {
          options?.signal?.throwIfAborted();
          handle ??= base.client(onTurn(connection));
          return await query(handle, compiled);
        }, compiled.sql),
      );
    },
  };
}

function connectionOf(
  executeQuery: (query: KyselyQuery, options?: KyselyQueryOptions) => Promise<KyselyResult<never>>,
): KyselyConnection {
  return {
    executeQuery,
    streamQuery: refuse('stream()', 'Read in pages: a stream cannot wait for its turn'),
  };
}

/** How a statement is run with a handle of the base driver, and what came of it in Kysely's words. */
type Query = (handle: object, query: KyselyQuery) => Promise<KyselyResult<never>>;

function queryOn({ dialect, outside }: Driver<object>): Query | undefined {
  if (dialect.name === 'postgres' && 'unsafe' in outside) return onPostgresJs;
  if (dialect.name === 'postgres' && 'query' in outside) return onPg;
  if (dialect.name === 'mysql' && 'batch' in outside) return onMariadb;
  if (dialect.name === 'mysql' && 'query' in outside) return onMysql2;
  if (dialect.name === 'sqlite' && 'prepare' in outside) return onSqlite;
  return undefined;
}

async function onPg(handle: object, { sql, parameters }: KyselyQuery): Promise<KyselyResult<never>> {
  const pg = handle as { query(text: string, values: readonly unknown[]): Promise<PgResult> };
  const { command, rowCount, rows = [] } = await pg.query(sql, parameters);
  return changing.has(command) ? { rows, numAffectedRows: BigInt(rowCount ?? 0) } : { rows };
}

interface PgResult {
  readonly command: string;
  readonly rowCount: number | null;
  /** Absent where several statements were sent as one. */
  readonly rows?: never[];
}

const changing = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

async function onPostgresJs(handle: object, { sql, parameters }: KyselyQuery): Promise<KyselyResult<never>> {
  const client = handle as { unsafe(text: string, values: unknown[]): PromiseLike<PostgresJsResult> };
  const result = await client.unsafe(sql, [...parameters]);
  const rows = [...result];
  return changing.has(result.command) ? { rows, numAffectedRows: BigInt(result.count) } : { rows };
}

type PostgresJsResult = readonly never[] & { readonly command: string; readonly count: number };

async function onMysql2(handle: object, { sql, parameters }: KyselyQuery): Promise<KyselyResult<never>> {
  const mysql = handle as {
    query(sql: string, values: readonly unknown[]): Promise<[never[] | Mysql2Header]>;
  };
  const [result] = await mysql.query(sql, parameters);
  if (Array.isArray(result)) return { rows: result };
  const { affectedRows, changedRows, insertId } = result;
  return {
    rows: [],
    numAffectedRows: BigInt(affectedRows),
    numChangedRows: BigInt(changedRows),
    ...(String(insertId) !== '0' && { insertId: BigInt(insertId) }),
  };
}

interface Mysql2Header {
  readonly affectedRows: number;
  readonly changedRows: number;
  readonly insertId: number | string;
}

async function onMariadb(handle: object, { sql, parameters }: KyselyQuery): Promise<KyselyResult<never>> {
  const mariadb = handle as {
    query(sql: string, values: readonly unknown[]): Promise<never[] | MariadbHeader>;
  };
  const result = await mariadb.query(sql, parameters);
  if (Array.isArray(result)) return { rows: result };
  const { affectedRows, insertId } = result;
  return {
    rows: [],
    numAffectedRows: BigInt(affectedRows),
    ...(String(insertId) !== '0' && { insertId: BigInt(insertId) }),
  };
}

interface MariadbHeader {
  readonly affectedRows: number;
  readonly insertId: number | bigint | string;
}

async function onSqlite(handle: object, { sql, parameters }: KyselyQuery): Promise<KyselyResult<never>> {
  const statement = (handle as { prepare(sql: string): SqliteStatement }).prepare(sql);
  const reads = statement.reader ?? (statement.columns?.().length ?? Number(givesRows(sql))) > 0;
  if (reads) return { rows: statement.all(...parameters) };
  const { changes, lastInsertRowid } = statement.run(...parameters);
  return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
}

interface SqliteStatement {
  /** better-sqlite3's: whether it gives rows. */
  readonly reader?: boolean;
  /** node:sqlite's; older Nodes do not have it, 22.14 among them. */
  columns?(): readonly unknown[];
  all(...parameters: readonly unknown[]): never[];
  run(...parameters: readonly unknown[]): {
    readonly changes: number | bigint;
    readonly lastInsertRowid: number | bigint;
  };
}
