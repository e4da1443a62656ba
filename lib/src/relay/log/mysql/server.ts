/** What is asked of the server beside the log: where it ends, which rows are visible, and where we were. */
import { isSettleError, SettleError } from '../../../util/errors.ts';
import { within } from '../../wake/pause.ts';
import { type BinlogPosition, type Mysql2LogConnection, ServerRefusal } from './dump.ts';
import type { RowKey } from './events.ts';

type Row = Readonly<Record<string, unknown>>;

export class LogServer {
  readonly #connection: Mysql2LogConnection;
  readonly #table: string;
  readonly #answerMs: number;

  constructor(
    connection: Mysql2LogConnection,
    { table, answerMs }: { readonly table: string; readonly answerMs: number },
  ) {
    this.#connection = connection;
    this.#table = table;
    this.#answerMs = answerMs;
  }

  async #ask(sql: string, values: (string | number)[] = []): Promise<readonly Row[]> {
    const [rows] = await within(
      this.#answerMs,
      'the answer of the server',
      this.#connection.query(sql, values),
    );
    return Array.isArray(rows) ? rows.filter(isRow) : [];
  }

  /** A connection that says nothing for hours is ours to keep; and a lock on one row is not to become one on a gap. */
  async prepare(): Promise<void> {
    await this.#ask('set session wait_timeout = 2147483');
    await this.#ask('set session transaction isolation level read committed');
  }

  async database(): Promise<string> {
    const [row] = await this.#ask('select database() as name');
    return textOf(row?.['name']);
  }

  /** Whether the table begins with the two columns that are its key, so that rows of the log tell theirs. */
  async beginsWithKey(schema: string, table: string): Promise<boolean> {
    const rows = await this.#ask(
      `select column_name as name from information_schema.columns
       where table_schema = ? and table_name = ? order by ordinal_position limit 2`,
      [schema, table],
    );
    return rows.map(({ name }) => textOf(name).toLowerCase()).join() === 'lane,seq';
  }

  /** Where the log ends now. Throws `config_invalid` where there is none, or none for us. */
  async end(): Promise<BinlogPosition> {
    const [row] = await this.#ask('show master status').catch((error: unknown) => {
      // MySQL 8.4 has another word for it.
      if (errnoOf(error) === 1064) return this.#ask('show binary log status');
      throw refusedRights(error);
    });
    if (row === undefined) {
      throw new SettleError('config_invalid', 'the server writes no binary log', {
        next: 'Start it with --log-bin (and binlog_format = ROW); or leave mysqlLogWake out, and the relay polls',
      });
    }
    return { file: textOf(row['File']), at: Number(row['Position']) };
  }

  /** Whether events are logged with a checksum from now on. */
  async hasChecksum(): Promise<boolean> {
    const [row] = await this.#ask('select @@global.binlog_checksum as checksum');
    return row?.['checksum'] === 'CRC32';
  }

  /** The thread that sends us the log notices late that nobody reads it. */
  async kill(threadId: number): Promise<void> {
    await this.#ask(`kill ${threadId}`);
  }

  /** Those that are visible, or were and are deleted: on each that is neither, its transaction still holds a lock. */
  async visible(rows: readonly RowKey[]): Promise<ReadonlySet<RowKey>> {
    if (rows.length === 0) return new Set();
    if (await this.#areFree(rows)) return new Set(rows);
    const free = new Set<RowKey>();
    for (const row of rows) if (rows.length > 1 && (await this.#areFree([row]))) free.add(row);
    return free;
  }

  async #areFree(rows: readonly RowKey[]): Promise<boolean> {
    const which = rows.map(({ lane, seq }) => `(lane = ${lane} and seq = ${seq})`).join(' or ');
    try {
      await this.#ask(`select lane from ${this.#table} where ${which} for update nowait`);
      return true;
    } catch (error) {
      // Somebody holds a lock: MariaDB's number, and MySQL's.
      if (errnoOf(error) === 1205 || errnoOf(error) === 3572) return false;
      throw error;
    }
  }

  /** Undefined before any was saved. Makes the table; throws `config_invalid` where it may not. */
  async position(name: string): Promise<BinlogPosition | undefined> {
    await this.#ask(createPositions).catch((cause: unknown) => {
      if (errnoOf(cause) !== 1142) throw cause;
      throw new SettleError('config_invalid', 'we may not make the table settle_outbox_log', {
        next: `As somebody who may: ${createPositions.replaceAll(/\s+/g, ' ')}`,
        cause,
      });
    });
    const [row] = await this.#ask('select file, position from settle_outbox_log where name = ?', [name]);
    return row === undefined ? undefined : { file: textOf(row['file']), at: Number(row['position']) };
  }

  async savePosition(name: string, { file, at }: BinlogPosition): Promise<void> {
    await this.#ask(
      `insert into settle_outbox_log (name, file, position) values (?, ?, ?)
       on duplicate key update file = values(file), position = values(position)`,
      [name, file, at],
    );
  }
}

const createPositions = `create table if not exists settle_outbox_log (
  name varchar(63) character set ascii primary key, file varchar(512) not null, position bigint not null)`;

/** The server's number of an error. */
export function errnoOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errno' in error)) return undefined;
  return typeof error.errno === 'number' ? error.errno : undefined;
}

/** `config_invalid` for an error that says that rights are missing. */
export function refusedRights(error: unknown): unknown {
  const isRight = !isSettleError(error) && [1044, 1045, 1142, 1227, 1698].includes(errnoOf(error) ?? 0);
  if (!isRight) return error;
  return new SettleError('config_invalid', 'the server does not let us read its binary log', {
    next: 'Grant REPLICATION SLAVE, and BINLOG MONITOR (MariaDB) or REPLICATION CLIENT (MySQL), on *.*',
    cause: error,
  });
}

/** The position is not in the log: its file was purged, or is of another server. */
export function isPositionLost(error: unknown): boolean {
  return error instanceof ServerRefusal && error.errno === 1236;
}

function isRow(row: unknown): row is Row {
  return typeof row === 'object' && row !== null;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
