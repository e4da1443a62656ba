/**
 * `settle/relay/mysql-log`: wake-ups by the binary log of MariaDB and MySQL, whoever wrote the messages.
 *
 * - B1 The log only wakes. What is sent, and in which order, is read from the table.
 * - B2 Every connection begins with a look at the table: what a purged file, another primary or a pause would have told is there.
 * - B3 A position is kept only once the relay has looked for all commits before it (log/handled-prefix).
 *
 * MariaDB 10.11 is tried in our tests. What is different of MySQL 8 follows its manual and was not run.
 */
import { messageOf, SettleError } from '../../../util/errors.ts';
import type { Wake, WakeContext, WakeSource } from '../../wake.ts';
import { type Backoff, defaultBackoff, keepOpen, type Session } from '../../wake/keep-open.ts';
import { pause, within } from '../../wake/pause.ts';
import { Follower } from '../follower.ts';
import { Looks } from '../looks.ts';
import { type BinlogPosition, cut, dump, type Mysql2LogConnection, refuseForeign } from './dump.ts';
import { EventReader, type LoggedEvent, type RowKey } from './events.ts';
import { Groups } from './groups.ts';
import { isPositionLost, LogServer, refusedRights } from './server.ts';

export type { Backoff } from '../../wake/keep-open.ts';
export type { Mysql2LogConnection } from './dump.ts';

export interface MysqlLogOptions {
  /** Makes a new connection of `mysql2/promise`, which is then ours: two are open, one reads the log, the other asks. */
  readonly connect: () => Promise<Mysql2LogConnection>;
  /**
   * Keeps under this name, in the table `settle_outbox_log`, up to where the log is handled, and reads on from there after a
   * restart; for one relay alone. Default: every connection begins at the end of the log.
   */
  readonly name?: string;
  /** In the database of the connection. Default `settle_outbox`. */
  readonly table?: string;
  /** A number that no replica nor other relay of this server has. Default: a random one from 2^31 on. */
  readonly serverId?: number;
  /** Milliseconds that connecting, and each answer, may take. Default 10,000. */
  readonly answerMs?: number;
  /** Milliseconds that the relay may take to look; then the connection is given up until it has. Default 10,000. */
  readonly lookMs?: number;
  /** Milliseconds of silence after which the server sends a sign of life. Default 10,000. */
  readonly aliveMs?: number;
  /** Default: a random part of 100 ms, doubling up to 5 s. */
  readonly backoff?: Backoff;
}

/**
 * Wakes a relay for every commit that inserted messages, by whatever program, also in XA transactions.
 *
 * Needs a server that writes a binary log, best with `binlog_format = ROW`, and the right to read it; `start` rejects with
 * `config_invalid` where one of them is missing. A lost connection or a purged file costs wake-ups, never messages: the
 * relay's poll finds them, and a new connection begins with a look at the table.
 */
export function mysqlLogWake(options: MysqlLogOptions): WakeSource {
  const settings: Settings = {
    connect: options.connect,
    name: options.name === undefined ? undefined : plain('name', options.name),
    table: plain('table', options.table ?? 'settle_outbox'),
    serverId: options.serverId ?? 2 ** 31 + Math.floor(Math.random() * (2 ** 31 - 1)),
    answerMs: options.answerMs ?? 10_000,
    aliveMs: options.aliveMs ?? 10_000,
    lookMs: options.lookMs ?? 10_000,
  };
  return {
    name: 'mysql-log',
    async start(wake, context) {
      const what = 'reading the binary log';
      const looks = new Looks(wake);
      const open = async (): Promise<Session> => {
        await looks.looked(context.signal);
        return await new LogSession(settings, looks.wake, context).open();
      };
      await keepOpen({ ...context, what, backoff: options.backoff ?? defaultBackoff, open });
    },
  };
}

interface Settings {
  readonly connect: () => Promise<Mysql2LogConnection>;
  readonly name: string | undefined;
  readonly table: string;
  readonly serverId: number;
  readonly answerMs: number;
  readonly aliveMs: number;
  readonly lookMs: number;
}

interface Commit {
  readonly row: RowKey | undefined;
  readonly arrivedMs: number;
}

/** A commit may have been in the log before we read it, and become visible after the first look. */
const secondLookMs = 1_000;
/** Of a commit whose row is not known, nobody can ask whether it is visible: it is looked for at once, and again after these. */
const lookAgainMs = 50;
/** Rows that are asked for at a time. */
const askedMax = 64;
/** Milliseconds between two writes of the position. */
const saveMs = 1_000;

class LogSession implements Session {
  readonly ended: Promise<Error>;
  readonly #end: (why: Error) => void;
  readonly #closing = new AbortController();
  readonly #settings: Settings;
  readonly #wake: Wake;
  readonly #context: WakeContext;
  readonly #connections: Mysql2LogConnection[] = [];
  #server: LogServer | undefined;
  #dumpThread: number | undefined;
  #heardMs = performance.now();
  #file = '';
  #saved: BinlogPosition | undefined;
  /** Of the file, or of commits of ours: anything else is not worth a write, which would be in the log itself. */
  #isWorthSaving = false;
  readonly #follower: Follower<BinlogPosition, Commit>;

  constructor(settings: Settings, wake: Wake, context: WakeContext) {
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.ended = promise;
    this.#end = resolve;
    this.#settings = settings;
    this.#wake = wake;
    this.#context = context;
    this.#follower = new Follower({
      wake,
      signal: this.#closing.signal,
      visible: (commits) => this.#visible(commits),
      lookMs: settings.lookMs,
      giveUp: (error) => this.#giveUp(error),
    });
  }

  async open(): Promise<Session> {
    const { table, answerMs, name } = this.#settings;
    try {
      const server = new LogServer(await this.#connect(), { table, answerMs });
      this.#server = server;
      await server.prepare();
      const database = await server.database();
      const hasKey = await server.beginsWithKey(database, table);
      const end = await server.end();
      const from = (name === undefined ? undefined : await server.position(name)) ?? end;
      this.#saved = from;
      const hasChecksum = await server.hasChecksum();
      const [events, groups] = [new EventReader({ hasChecksum }), new Groups(database, table)];
      await this.#read(from, hasChecksum, (bytes) => this.#take(events.read(bytes), groups, hasKey));
      if (name !== undefined) void this.#keepPosition(name);
    } catch (error) {
      await this.#forgetLostPosition(error);
      this.close();
      throw refusedRights(error);
    }
    this.#watch().catch(this.#end);
    void this.#wake();
    void pause(secondLookMs, this.#closing.signal).then((hasPassed) =>
      hasPassed ? this.#wake() : undefined,
    );
    return this;
  }

  async #connect(): Promise<Mysql2LogConnection> {
    const { answerMs, connect } = this.#settings;
    const connecting = connect();
    try {
      const connection = await within(answerMs, 'connecting', connecting);
      refuseForeign(connection);
      connection.on('error', this.#end);
      this.#connections.push(connection);
      return connection;
    } catch (error) {
      connecting.then(cut).catch(() => {});
      throw error;
    }
  }

  async #read(
    from: BinlogPosition,
    hasChecksum: boolean,
    onEvent: (bytes: Uint8Array) => void,
  ): Promise<void> {
    const { aliveMs, answerMs, serverId } = this.#settings;
    const connection = await this.#connect();
    this.#dumpThread = connection.threadId;
    // Each server knows some of these words: checksums as they are in the log, signs of life, MariaDB's own events.
    const periodNs = aliveMs * 1_000_000;
    const checksum = hasChecksum ? 'CRC32' : 'NONE';
    const session = `set @master_binlog_checksum = '${checksum}', @source_binlog_checksum = '${checksum}',
      @master_heartbeat_period = ${periodNs}, @source_heartbeat_period = ${periodNs}, @mariadb_slave_capability = 4`;
    await within(answerMs, 'the answer of the server', connection.query(session, []));
    const begun = Promise.withResolvers<void>();
    this.#file = from.file;
    dump(connection, {
      from,
      serverId,
      onEvent: (bytes) => {
        begun.resolve();
        this.#heardMs = performance.now();
        if (!this.#closing.signal.aborted) onEvent(bytes);
      },
      onEnd: (why) => {
        begun.reject(why);
        this.#giveUp(why);
      },
    });
    await within(answerMs, 'the log', begun.promise);
  }

  #take({ event, end }: LoggedEvent, groups: Groups, hasKey: boolean): void {
    if (event.kind === 'rotate') {
      if (this.#file !== event.file) this.#isWorthSaving = true;
      this.#file = event.file;
      this.#follower.passed({ file: event.file, at: event.at });
      return;
    }
    const outcome = groups.next(event);
    const position = { file: this.#file, at: end };
    if (outcome.kind === 'committed') {
      const row = hasKey ? outcome.row : undefined;
      if (row === undefined) void this.#wake();
      this.#isWorthSaving = true;
      this.#follower.committed(position, { row, arrivedMs: performance.now() });
    } else if (outcome.kind === 'passed' && end > 0) {
      this.#follower.passed(position);
    }
  }

  async #visible(commits: readonly Commit[]): Promise<(commit: Commit) => boolean> {
    const nowMs = performance.now();
    const rows = commits.flatMap(({ row }) => row ?? []).slice(0, askedMax);
    const visible = (await this.#server?.visible(rows)) ?? new Set();
    return ({ row, arrivedMs }) => (row === undefined ? nowMs - arrivedMs >= lookAgainMs : visible.has(row));
  }

  async #keepPosition(name: string): Promise<void> {
    while (await pause(saveMs, this.#closing.signal)) {
      await this.#save(name).catch((cause: unknown) => {
        const what = `the position of the binary log could not be kept: ${messageOf(cause)}`;
        this.#context.warn(new Error(what, { cause }));
      });
    }
  }

  async #save(name: string): Promise<void> {
    const position = this.#follower.acknowledged;
    if (!this.#isWorthSaving || position === undefined) return;
    if (position.file === this.#saved?.file && position.at === this.#saved.at) return;
    await this.#server?.savePosition(name, position);
    this.#saved = position;
  }

  async #forgetLostPosition(error: unknown): Promise<void> {
    const { name } = this.#settings;
    if (!isPositionLost(error) || name === undefined || this.#server === undefined) return;
    const what =
      'the log does not go back to where it was left: it is read from its end, and the whole table is looked at instead';
    this.#context.warn(new Error(what, { cause: error }));
    await this.#server.savePosition(name, await this.#server.end());
  }

  async #watch(): Promise<void> {
    const { aliveMs, answerMs } = this.#settings;
    while (await pause(aliveMs, this.#closing.signal)) {
      const silentMs = performance.now() - this.#heardMs;
      if (silentMs > aliveMs + answerMs)
        throw new Error(`the server said nothing for ${Math.round(silentMs)} ms`);
    }
  }

  #giveUp(error: unknown): void {
    this.#end(error instanceof Error ? error : new Error(String(error)));
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    const goodbye = async (): Promise<void> => {
      const { name } = this.#settings;
      if (name !== undefined) await this.#save(name);
      if (this.#dumpThread !== undefined) await this.#server?.kill(this.#dumpThread);
    };
    const cutAll = (): void => this.#connections.forEach(cut);
    within(goodbyeMs, 'the goodbye', goodbye()).then(cutAll, cutAll);
  }
}

/** Milliseconds a goodbye may take: a server that is gone never answers it. */
const goodbyeMs = 1_000;

/** Throws `config_invalid` for what would need quoting. */
function plain(what: string, name: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)) return name;
  throw new SettleError('config_invalid', `the ${what} ${JSON.stringify(name)} is no plain name`, {
    next: 'Use at most 63 letters, digits and underscores',
  });
}
