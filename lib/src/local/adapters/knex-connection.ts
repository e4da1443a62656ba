import type { SqlResult, SqlValue } from '../../util/sql.ts';
import { mysqlDialect, postgresDialect, sqliteDialect, type Dialect } from '../dialect.ts';
import type { Connection, TransactionStatus } from '../driver.ts';
import { isAnswer, isObject, resultOf, statusOf, statusQuery } from './mysql.ts';

/** What Knex calls its client: one for each instance, whose methods differ from database to database. */
export interface KnexClient {
  readonly driverName: string;
  readonly canCancelQuery?: boolean;
  readonly pool?: { readonly max?: number };
  acquireConnection(): Promise<RawConnection>;
  releaseConnection(connection: RawConnection): Promise<void>;
  /** Runs a query on a connection, and tells the listeners of it. */
  query(connection: RawConnection, query: KnexQuery | string): Promise<KnexAnswer>;
  cancelQuery(connection: RawConnection): Promise<unknown>;
  /** Runs a query of which nobody is to be told. */
  [untold](connection: RawConnection, query: KnexQuery): Promise<KnexAnswer>;
}

const untold = '_query';

export interface KnexQuery {
  readonly sql?: string;
  readonly bindings?: readonly unknown[];
}

interface KnexAnswer {
  /** As the driver gave it. */
  readonly response?: unknown;
}

/** Knex's mark on a connection: it is not given to anybody any more. */
export const disposed = '__knex__disposed';

/** A connection of whatever driver is beneath; every member is that of some driver alone. */
export interface RawConnection {
  [disposed]?: Error;
  on?(event: 'error', listener: () => void): unknown;
  removeListener?(event: 'error', listener: () => void): unknown;
  /** Of a pool that was handed to Knex, which then ends connections itself. */
  readonly release?: unknown;
  /** pg. */
  getTransactionStatus?(): string | null;
  end?(): unknown;
  /** mysql2. */
  destroy?(): void;
  /** better-sqlite3. */
  readonly inTransaction?: boolean;
}

/** What is different from one database to the next, where Knex does not do it. */
export interface KnexKind {
  readonly dialect: Dialect;
  /** Whether all have one connection; then it is never given up, since all that is in memory would go with it. */
  readonly oneConnection: boolean;
  /** In what state the transaction is: as the connection knows now, or as the last answer said that told one. */
  status(raw: RawConnection, told: TransactionStatus | undefined): TransactionStatus | undefined;
  /** What an answer of the driver says of it. */
  readonly statusIn?: (response: unknown) => TransactionStatus | undefined;
  /** What is asked after an error that arrives before the status it has left, or without one. */
  readonly question?: {
    readonly sql: string;
    isOpen(error: unknown, status: TransactionStatus | undefined): boolean;
  };
  /** Reads an answer of the driver. */
  resultOf(response: unknown): SqlResult;
  /** Ends the connection at once, whatever runs on it. */
  end(raw: RawConnection): unknown;
}

/** By the name of Knex's driver. */
export const kinds: Readonly<Record<string, KnexKind>> = {
  pg: {
    dialect: postgresDialect,
    oneConnection: false,
    status: (raw) => postgresStatus[raw.getTransactionStatus?.() ?? ''],
    question: {
      sql: 'select 1',
      isOpen: (error, status) => status === 'open' && error instanceof Error && 'severity' in error,
    },
    resultOf: postgresResult,
    end: (raw) => raw.end?.(),
  },
  mysql2: {
    dialect: mysqlDialect,
    oneConnection: false,
    status: (_, told) => told,
    statusIn: headerStatus,
    question: { sql: statusQuery, isOpen: isAnswer },
    resultOf: (response) => resultOf(isList(response) ? response[0] : response),
    end: (raw) => raw.destroy?.(),
  },
  'better-sqlite3': {
    dialect: sqliteDialect,
    oneConnection: true,
    status: (raw) => (raw.inTransaction === true ? 'open' : 'none'),
    resultOf: sqliteResult,
    end: () => {},
  },
};

function postgresResult(response: unknown): SqlResult {
  const { rows, rowCount } = response as { rows: readonly unknown[]; rowCount: number | null };
  return { rows, affected: rowCount ?? 0 };
}

function sqliteResult(response: unknown): SqlResult {
  if (isList(response)) return { rows: response, affected: 0 };
  return { rows: [], affected: isObject(response) ? Number(response['changes'] ?? 0) : 0 };
}

const postgresStatus: Readonly<Record<string, TransactionStatus>> = { I: 'none', T: 'open', E: 'failed' };

/** What was done has a header with a status, and no columns. Of several results the last header counts. */
function headerStatus(response: unknown): TransactionStatus | undefined {
  if (!isList(response)) return undefined;
  const [result, columns] = response;
  const header = isList(columns) ? ofLast(result, columns.lastIndexOf(undefined)) : result;
  if (!isObject(header) || typeof header['serverStatus'] !== 'number') return undefined;
  return statusOf(header['serverStatus']);
}

function ofLast(result: unknown, at: number): unknown {
  return isList(result) ? result[at] : undefined;
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** One connection of Knex's pool. Knex sends, tells its listeners, and cancels. */
export class KnexConnection implements Connection {
  readonly raw: RawConnection;
  readonly #client: KnexClient;
  readonly #kind: KnexKind;
  readonly #onRelease: () => void;
  #told: TransactionStatus | undefined;

  constructor(raw: RawConnection, client: KnexClient, kind: KnexKind, onRelease: () => void) {
    this.raw = raw;
    this.#client = client;
    this.#kind = kind;
    this.#onRelease = onRelease;
    // A connection that breaks between two statements would otherwise end the process; the next statement says so.
    raw.on?.('error', ignore);
  }

  async run(query: KnexQuery | string): Promise<KnexAnswer> {
    const answer = await this.#client.query(this.raw, query);
    this.#hear(answer);
    return answer;
  }

  async execute(sql: string): Promise<string | undefined> {
    const { response } = await this.run(sql);
    const last = isList(response) ? response.at(-1) : response;
    return isObject(last) && typeof last['command'] === 'string' ? last['command'] : undefined;
  }

  async query(sql: string, values: readonly SqlValue[]): Promise<SqlResult> {
    const { response } = await this.run({ sql, bindings: values });
    return this.#kind.resultOf(response);
  }

  status(): TransactionStatus | undefined {
    return this.#kind.status(this.raw, this.#told);
  }

  async hearOut(error: unknown): Promise<void> {
    const { question } = this.#kind;
    if (question?.isOpen(error, this.status()) !== true) return;
    try {
      this.#hear(await this.#client[untold](this.raw, { sql: question.sql, bindings: [] }));
    } catch {
      // When it is not answered, the next statement will say why.
    }
  }

  async cancel(): Promise<void> {
    if (this.#client.canCancelQuery === true) await this.#client.cancelQuery(this.raw);
  }

  async release(fate: 'reuse' | 'discard'): Promise<void> {
    if (fate === 'reuse' || this.#kind.oneConnection) this.raw.removeListener?.('error', ignore);
    else this.#giveUp();
    this.#onRelease();
    await this.#client.releaseConnection(this.raw);
  }

  /** Knex's pool would end it when it is next asked for a connection; until then it would keep its locks. */
  #giveUp(): void {
    this.raw[disposed] ??= new Error('settle gave it up, since its state is not known');
    if (this.raw.release === undefined) Promise.resolve(this.#kind.end(this.raw)).catch(ignore);
  }

  #hear({ response }: KnexAnswer): void {
    this.#told = this.#kind.statusIn?.(response) ?? this.#told;
  }
}

function ignore(): void {}
