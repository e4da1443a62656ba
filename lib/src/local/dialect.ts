/** What is different from one kind of database to the next, whatever the driver: words, and the meaning of errors. */

export type Isolation = 'read-uncommitted' | 'read-committed' | 'repeatable-read' | 'serializable';

export interface BeginOptions {
  readonly isolation: Isolation | undefined;
  readonly readOnly: boolean;
  /** Milliseconds after which the server itself ends a statement, or the transaction while it is idle. */
  readonly serverTimeoutMs: number | undefined;
}

export interface Dialect {
  readonly name: 'postgres' | 'mysql' | 'sqlite';
  /** Whether `savepoint` works. */
  readonly savepoints: boolean;
  /** Whether a statement that failed makes the server refuse every further one until its savepoint is rolled back. */
  readonly refusesAfterFailure: boolean;
  /** The messages that begin a transaction: one wherever one will do. */
  begin(options: BeginOptions): readonly string[];
  /** What puts the connection back as it was, once the transaction has ended. */
  reset?(options: BeginOptions): readonly string[];
  /** What a driver's error means for the transaction it came up in. */
  failureOf(error: unknown): Failure;
  /**
   * Of an error after which the transaction is gone, although it is not one that rolls back: whether what came before it is
   * committed, as by DDL of MySQL, which commits and then fails.
   */
  commitsBefore(error: unknown): boolean;
  /** Whether a connection was refused because of who asked for it, or for which database. */
  deniesAccess(error: unknown): boolean;
  /** Whether a statement was refused because a table it names is not there. */
  missesTable(error: unknown): boolean;
}

/**
 * - `serialization`, `deadlock`: trying the whole transaction again may succeed.
 * - `connection-lost`: the server rolls back what was not committed; a commit under way is unknown.
 * - `refused`: the server answered with an error.
 * - `unclear`: it is not known that the server answered.
 */
export interface Failure {
  readonly kind: 'serialization' | 'deadlock' | 'connection-lost' | 'refused' | 'unclear';
  /** Whether the server has rolled back the whole transaction, and not only the statement. */
  readonly endsTransaction: boolean;
}

const refused: Failure = { kind: 'refused', endsTransaction: false };
const unclear: Failure = { kind: 'unclear', endsTransaction: false };
const lost: Failure = { kind: 'connection-lost', endsTransaction: true };

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
export const postgresDialect: Dialect = {
  name: 'postgres',
  savepoints: true,
  refusesAfterFailure: true,
  begin({ isolation, readOnly, serverTimeoutMs }) {
    const level = isolation === undefined ? '' : ` isolation level ${isolation.replace('-', ' ')}`;
    const begin = `begin${level}${readOnly ? ' read only' : ''}`;
    if (serverTimeoutMs === undefined) return [begin];
    return [
      `${begin}; set local statement_timeout = ${serverTimeoutMs}; ` +
        `set local idle_in_transaction_session_timeout = ${serverTimeoutMs}`,
    ];
  },
  failureOf(error) {
    const code = codeOf(error);
    if (networkErrors.has(code)) return lost;
    if (code === '40001') return { kind: 'serialization', endsTransaction: false };
    if (code === '40P01') return { kind: 'deadlock', endsTransaction: false };
    // Connection exceptions, shutdowns, and the timeouts that end the session.
    if (/^(?:08|57P0|25P03|25P04)/.test(code)) return lost;
    // An internal error of the server, or a statement it knows no end of, leaves open what it had done already.
    if (/^(?:40003|58|XX)/.test(code)) return unclear;
    return /^[0-9A-Z]{5}$/.test(code) ? refused : lossOf(error);
  },
  // Several statements sent as one may hide a COMMIT before the one that fails.
  commitsBefore: () => true,
  // Invalid authorization, and no such database.
  deniesAccess: (error) => causesOf(error).some(({ code }) => /^(?:28|3D000)/.test(String(code))),
  missesTable: (error) => codeOf(error) === '42P01',
};

/** https://mariadb.com/docs/server/reference/error-codes, https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html */
export const mysqlDialect: Dialect = {
  name: 'mysql',
  savepoints: true,
  refusesAfterFailure: false,
  begin({ isolation, readOnly }) {
    const start = readOnly ? 'start transaction read only' : 'start transaction';
    if (isolation === undefined) return [start];
    return [`set transaction isolation level ${isolation.replace('-', ' ')}`, start];
  },
  failureOf(error) {
    const code = codeOf(error);
    const errno = memberOf(error, 'errno');
    // The deadlock's victim loses its whole transaction, savepoints and all.
    if (errno === 1213) return { kind: 'deadlock', endsTransaction: true };
    // What was read has changed (innodb_snapshot_isolation, MariaDB's default since 11.6): so does who finds that out.
    if (errno === 1020) return { kind: 'serialization', endsTransaction: true };
    // And who finds no room for another lock.
    if (errno === 1206) return { kind: 'refused', endsTransaction: true };
    // An error during COMMIT.
    if (errno === 1180) return unclear;
    if (typeof errno === 'number' && connectionEnds.has(errno)) return lost;
    // The connectors number their own errors from 45,000, and call some of the server's fatal that are not.
    if (typeof errno === 'number' && errno >= 1000 && errno < 45_000) return refused;
    if (code.startsWith('PROTOCOL_') || memberOf(error, 'fatal') === true) return lost;
    return lossOf(error);
  },
  // Where innodb_rollback_on_timeout is on, a lock that is waited for too long (1205) rolls back.
  commitsBefore: (error) => memberOf(error, 'errno') !== 1205,
  deniesAccess: (error) => causesOf(error).some(({ errno }) => accessErrors.has(Number(errno))),
  missesTable: (error) => memberOf(error, 'errno') === 1146,
};

/** No right to the database, wrong user or password, no such database; no password where there has to be one. */
const accessErrors = new Set([1044, 1045, 1049, 1698]);

/** Server shutdown, connection killed, client interaction timeout, aborted connection. */
const connectionEnds = new Set([1053, 1152, 1184, 1927, 4031, 2006, 2013]);

/** https://www.sqlite.org/rescode.html, https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction */
export const sqliteDialect: Dialect = {
  name: 'sqlite',
  savepoints: true,
  refusesAfterFailure: false,
  // SQLite is serializable, which every other isolation allows. A transaction that writes takes its lock at once:
  // one that reads first and writes later may find that it no longer can (SQLITE_BUSY_SNAPSHOT).
  begin: ({ readOnly }) => (readOnly ? ['begin', 'pragma query_only = 1'] : ['begin immediate']),
  reset: ({ readOnly }) => (readOnly ? ['pragma query_only = 0'] : []),
  failureOf(error) {
    if (isSqlite(error, 'SQLITE_BUSY', 5)) return { kind: 'serialization', endsTransaction: false };
    // What did not reach the disk may have done so in part.
    return isSqlite(error, 'SQLITE_IOERR', 10) ? unclear : refused;
  },
  // ON CONFLICT ROLLBACK, a full disk and others roll back; after an error of the text alone, it was a COMMIT in it.
  commitsBefore: (error) => isSqlite(error, 'SQLITE_ERROR', 1),
  deniesAccess: () => false,
  // Knex puts the statement before it.
  missesTable: (error) =>
    causesOf(error).some(({ message }) => /(?:^| - )no such table: \S+$/.test(String(message))),
};

/** better-sqlite3 has a name for the extended code, node:sqlite its number, whose last byte is the code. */
function isSqlite(error: unknown, name: string, code: number): boolean {
  const errcode = memberOf(error, 'errcode');
  return codeOf(error).startsWith(name) || (typeof errcode === 'number' && (errcode & 255) === code);
}

const networkErrors = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
]);

/** pg says it in words alone. */
const lossInWords =
  /connection (?:is )?(?:terminated|closed|lost|ended|not queryable)|not queryable|closed state/i;

function lossOf(error: unknown): Failure {
  // A pool may say only beneath its own error why it has no connection.
  const isLoss = causesOf(error).some(
    ({ code, message }) => networkErrors.has(String(code)) || lossInWords.test(String(message)),
  );
  return isLoss ? lost : unclear;
}

function codeOf(error: unknown): string {
  const code = memberOf(error, 'code');
  return typeof code === 'string' ? code : '';
}

function memberOf(error: unknown, name: 'code' | 'errno' | 'errcode' | 'fatal'): unknown {
  return causesOf(error).find((cause) => cause[name] !== undefined && !isForeign(cause))?.[name];
}

/** The error and those beneath it: libraries on top of a driver hand its error down as a cause, or under a name of their own. */
function causesOf(error: unknown): readonly Readonly<Record<string, unknown>>[] {
  const causes: Record<string, unknown>[] = [];
  for (let at = error; isObject(at) && causes.length < causesMax;) {
    causes.push(at);
    at = at['cause'] ?? at['original'] ?? at['driverError'] ?? at['parent'];
  }
  return causes;
}

const causesMax = 10;

/** A code like `P2010` is the library's own. */
function isForeign(error: Readonly<Record<string, unknown>>): boolean {
  return typeof error['code'] === 'string' && /^P\d{4}$/.test(error['code']) && error['cause'] !== undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
