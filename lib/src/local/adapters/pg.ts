/** `settle/local/pg`: local transactions over a Pool of `pg` (node-postgres). */
import { SettleError } from '../../util/errors.ts';
import type { SqlResult, SqlValue } from '../../util/sql.ts';
import { postgresDialect } from '../dialect.ts';
import type { Connection, Driver, Gate, TransactionStatus } from '../driver.ts';

/** The part of `pg`'s Pool that is used. */
export interface PgPool {
  connect(): Promise<PgPoolClient>;
  // Whatever its overloads: the handle has the very same ones.
  readonly query: (...args: never[]) => unknown;
  on?(event: 'connect', listener: (client: PgPoolClient) => void): unknown;
  readonly options?: { readonly max?: number; readonly verify?: unknown };
  readonly idleCount?: number;
  readonly waitingCount?: number;
  /** Makes the one extra connection over which a running statement is cancelled. */
  readonly Client?: new (options: never) => PgClient;
}

interface PgClient {
  connect(): Promise<unknown>;
  query(text: string, values: readonly unknown[]): Promise<unknown>;
  end(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export interface PgPoolClient {
  query(text: string, values?: unknown[]): Promise<PgAnswer>;
  query(text: string, callback: (error: Error | null, answer: PgAnswer) => void): void;
  release(destroy?: boolean): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  /** Since 8.21. */
  getTransactionStatus?(): string | null;
  readonly processID?: number | null;
}

/** Of several statements in one text, one result each. */
type PgAnswer = PgResult | readonly PgResult[];

interface PgResult {
  readonly command: string | null;
  readonly rows: readonly unknown[];
  readonly rowCount: number | null;
}

/** What a transaction gives its function: `query`, with the overloads of the pool's own, except for streams. */
export type PgHandle<Pool extends PgPool> = Pick<Pool, 'query'>;

/**
 * Transactions over a Pool of pg. The pool stays the caller's: it is neither configured nor ended here.
 *
 * Its `query` takes everything the pool's does except streams and cursors (`statement_refused`: they need the connection
 * before it is their turn).
 */
export function pgDriver<Pool extends PgPool>(pool: Pool): Driver<PgHandle<Pool>> {
  if (!isPool(pool)) {
    throw new SettleError('config_invalid', 'pgDriver needs a Pool of pg: it has connect() and query()', {
      next: 'Pass new pg.Pool(...); a single Client cannot serve several transactions',
    });
  }
  // A packet may bring the end of a connection together with its beginning; that is told before anybody has the client.
  pool.on?.('connect', (client) => client.on('error', ignore));
  const connections = new WeakMap<PgPoolClient, PgConnection>();
  const connectionOf = (client: PgPoolClient): PgConnection => {
    const known = connections.get(client);
    if (known !== undefined) return known;
    const made = new PgConnection(client, pool);
    connections.set(client, made);
    return made;
  };
  return {
    name: 'pg',
    dialect: postgresDialect,
    answers: 'later',
    outside: { query: (...args: never[]) => pool.query(...args) },
    get connectionsMax() {
      return pool.options?.max;
    },
    get hasIdleConnection() {
      // One that somebody else waits for is not there for us; and one that is asked whether it is well has to answer.
      return (pool.idleCount ?? 0) > (pool.waitingCount ?? Infinity) && pool.options?.verify === undefined;
    },
    acquire: () => pool.connect().then(connectionOf),
    client: (gate) => ({ query: gated(gate) }),
  };
}

/** `query` with the overloads of pg, every statement of it through the gate. */
function gated(gate: Pick<Gate<unknown>, 'run'>): PgPool['query'] {
  return (...args: unknown[]) => {
    const callback = args.at(-1);
    const given = isCallback(callback) ? args.slice(0, -1) : args;
    const ran = gate.run(
      (connection) => (connection as PgConnection).client.query(...(given as [string])),
      textOf(args[0]),
    );
    return isCallback(callback) ? void callBack(callback, ran) : ran;
  };
}

type Callback = (error: unknown, result?: unknown) => void;

function isCallback(value: unknown): value is Callback {
  return typeof value === 'function';
}

async function callBack(callback: Callback, ran: Promise<unknown>): Promise<void> {
  const [error, result] = await ran.then(
    (result) => [null, result],
    (error: unknown) => [error],
  );
  callback(error, result);
}

class PgConnection implements Connection {
  readonly client: PgPoolClient;
  readonly #pool: PgPool;
  /** How many are under way: one that comes late would end the statement of whoever has the connection next. */
  #cancels = 0;

  constructor(client: PgPoolClient, pool: PgPool) {
    this.client = client;
    this.#pool = pool;
    // A connection that breaks between two statements would otherwise end the process; the next statement says so. The
    // pool has a listener of its own while the connection is idle, so this one stays.
    client.on('error', ignore);
  }

  /** With a callback: pg's promise and what has to be done with it would be three, for every BEGIN and COMMIT (bench/local). */
  execute(sql: string): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      this.client.query(sql, (error, answer) => {
        if (error) reject(error);
        else resolve(tagOf(answer));
      });
    });
  }

  query(sql: string, values: readonly SqlValue[]): Promise<SqlResult> {
    return this.client.query(sql, [...values]).then((answer) => {
      const { rows, rowCount } = answer as PgResult;
      return { rows, affected: rowCount ?? 0 };
    });
  }

  status(): TransactionStatus | undefined {
    switch (this.client.getTransactionStatus?.()) {
      case 'I':
        return 'none';
      case 'T':
        return 'open';
      case 'E':
        return 'failed';
      default:
        return undefined;
    }
  }

  /** pg rejects with an error before it reads the state that follows it: asking for anything else waits for that. */
  async hearOut(thrown: unknown): Promise<void> {
    const isFromServer = thrown instanceof Error && 'severity' in thrown;
    if (isFromServer && this.status() === 'open') await this.client.query('select 1').catch(ignore);
  }

  /** Over a connection of its own: those of the pool may all be waiting for this one. */
  async cancel(): Promise<void> {
    const { Client, options } = this.#pool;
    const { processID } = this.client;
    if (Client === undefined || processID === undefined || processID === null) return;
    this.#cancels++;
    const other = new Client(options as never);
    other.on('error', ignore);
    try {
      await other.connect();
      await other.query('select pg_cancel_backend($1)', [processID]);
      this.#cancels--;
    } finally {
      await other.end();
    }
  }

  release(fate: 'reuse' | 'discard'): void {
    this.client.release(fate === 'discard' || this.#cancels > 0);
  }
}

function tagOf(answer: PgAnswer): string | undefined {
  const last = Array.isArray(answer) ? (answer as readonly PgResult[]).at(-1) : (answer as PgResult);
  return last?.command ?? undefined;
}

function ignore(): void {}

function isPool(pool: unknown): boolean {
  return (
    typeof pool === 'object' &&
    pool !== null &&
    'connect' in pool &&
    'query' in pool &&
    // A Client has both, too; only a pool counts its clients.
    'totalCount' in pool
  );
}

function textOf(query: unknown): string | undefined {
  if (typeof query === 'string') return query;
  if (typeof query !== 'object' || query === null) return undefined;
  if ('submit' in query && typeof query.submit === 'function') {
    throw new SettleError('statement_refused', 'a stream or cursor cannot wait for its turn', {
      next: 'Read in pages, or use a connection of the pool for it',
    });
  }
  return 'text' in query && typeof query.text === 'string' ? query.text : undefined;
}
