/**
 * Takes effect once for each message, however often brokers deliver it.
 *
 * - I1 The row of a message is written by the very transaction its work runs in: both are committed, or neither.
 * - I2 The row is written before the work begins. Of duplicates that come at the same time one works, and the others wait for
 *   the end of its transaction: then they are duplicates, or, if it was rolled back, one of them is the first.
 * - I3 Rows stay for as long as a message may come again, which is declared; nothing prunes them before.
 */
import { postgresDialect, mysqlDialect, sqliteDialect, type Dialect } from '../local/dialect.ts';
import { UnexpectedRollback } from '../local/errors.ts';
import { checkMs, type RetryOptions, type ScopeOptions } from '../local/options.ts';
import { checkedVersion, type ForEachDatabase } from '../local/schema.ts';
import type { JoiningOptions, Transaction } from '../local/transaction.ts';
import type { Transactions } from '../local/transactions.ts';
import { SettleError } from '../util/errors.ts';
import { deadLettersIn, type InboxDeadLetters } from './dead-letters.ts';
import { storedResult, type KeptResult } from './kept-result.ts';
import { messageKey, type MessageKey } from './message-key.ts';
import { positionsIn, type Positions } from './positions.ts';
import { inboxSchema } from './schema.ts';
import { deleteOld, insertMessage, selectResult, selectVersion, updateResult } from './statements.ts';
import { isRow, words, type Ask } from './words.ts';

export type Once<Result> =
  /** Its effects are committed, or are with the transaction that this took part in. */
  | { readonly duplicate: false; readonly result: Result }
  /** It was handled before. The result is the one of then, as JSON keeps it; undefined when there was none. */
  | { readonly duplicate: true; readonly result: Result };

export interface OnceOptions<Client> extends Pick<
  ScopeOptions,
  'isolation' | 'timeoutMs' | 'signal' | 'label'
> {
  /**
   * What keeps duplicates apart that come at the same time.
   * - `insert-first` (default): the row alone. One statement before the work.
   * - `lock-first`: a lock on the message, taken before that row. One statement more, and then duplicates queue up in the
   *   order they came and never deadlock, also when those before them roll back; and `ifBusy` can be said.
   */
  readonly mode?: 'insert-first' | 'lock-first';
  /**
   * With `lock-first`, what a duplicate does while the first is at work. `wait` (default), and with it a connection, until
   * that is done; or `refuse`: it rejects with `unavailable` at once and comes again later. For work that takes longer than
   * its broker waits before it delivers once more. On SQLite it waits in both cases: transactions come one at a time there.
   */
  readonly ifBusy?: 'wait' | 'refuse';
  /** `requiresNew`: a transaction of its own, also within another one. Default: `required`. */
  readonly propagation?: 'required' | 'requiresNew';
  /** Of the transaction it takes part in. Default: the one the calling code runs in, or a new one. */
  readonly client?: Client;
  /**
   * How often a transaction is tried that met another one (deadlock, serialization failure). Default: 10 times. Only for one
   * that is begun here: the owner of another one has to try that again.
   */
  readonly retry?: RetryOptions;
}

export interface InboxOptions {
  /**
   * Milliseconds within which a message may come again: the retention of the broker, or how long its queues hold one back,
   * and how long after that somebody may replay dead letters. Rows are kept at least as long. Default 604,800,000 (7 days).
   */
  readonly redeliveryWindowMs?: number;
}

export interface PruneOptions {
  /** Default: the redelivery window, which is the least there may be. */
  readonly olderThanMs?: number;
  /** At most so many rows, from 1 to 10,000. Default 1,000. */
  readonly limit?: number;
}

export interface Inbox<Client> {
  /**
   * Runs work for this message unless it was handled before by this consumer, in the transaction the calling code runs in or
   * a new one. What the work gives back is kept, up to 65,536 bytes of JSON, and given to duplicates.
   *
   * Guarantees: of all calls with one consumer and one id, the work of one at most is committed, as far as it writes through
   * its transaction; what it does elsewhere may happen again. Ids and names compare byte by byte. Work may run again after a
   * rollback. What it throws, or `setRollbackOnly()`, rolls everything back, and the message counts as not handled.
   *
   * Above read committed, a duplicate that has waited cannot see the row it waited for: that is a serialization failure. It is
   * tried again here where the transaction is begun here; in one that it takes part in, its owner has to do that.
   *
   * Throws what the work throws and what `Transactions.run` does, `message_invalid` for an id that cannot be stored (empty,
   * over 512 bytes), `config_invalid` for a name of a consumer, `tables_missing`, `store_newer`, `limit_exceeded` for a result
   * that is too long, `unexpected_rollback` when the work asked for a rollback, and `unavailable` with `ifBusy: 'refuse'`.
   *
   * ```ts
   * await inbox.once('stock', message.id, (t) => t.client.query('update stock set reserved = reserved + 1 where sku = $1', [sku]));
   * ```
   */
  once<Result extends KeptResult>(
    consumer: string,
    messageId: string,
    work: (t: Transaction<Client>) => Result | PromiseLike<Result>,
    options?: OnceOptions<Client>,
  ): Promise<Once<Result>>;
  /**
   * Deletes rows of messages that were handled that long ago by the clock of the database, and gives back how many. Call it
   * again for as long as that is `limit`. Throws `config_invalid` for less than the redelivery window: such a message may come
   * again, and would take effect twice.
   */
  prune(options?: PruneOptions): Promise<number>;
  readonly redeliveryWindowMs: number;
  /** What consumers could not handle. */
  readonly dead: InboxDeadLetters;
  /** How far consumers have come that store their positions with their work. */
  readonly positions: Positions<Client>;
}

export const redeliveryWindowMsDefault = 604_800_000;
export const onceAttemptsMaxDefault = 10;
export const pruneLimitDefault = 1_000;
export const pruneLimitMax = 10_000;

/**
 * The inbox in the database of these transactions, on PostgreSQL, MySQL, MariaDB and SQLite; its tables are made by
 * `migrateInbox(driver)`. Throws `config_invalid` for a window that is no time.
 *
 * ```ts
 * const inbox = createInbox(tx);
 * const { duplicate } = await inbox.once('stock', id, (t) => reserve(t.client, order));
 * ```
 */
export function createInbox<Client>(tx: Transactions<Client>, options: InboxOptions = {}): Inbox<Client> {
  return new SqlInbox(tx, options);
}

class SqlInbox<Client> implements Inbox<Client> {
  readonly redeliveryWindowMs: number;
  readonly dead: InboxDeadLetters;
  readonly positions: Positions<Client>;
  readonly #tx: Transactions<Client>;
  #isVersionChecked = false;

  constructor(tx: Transactions<Client>, { redeliveryWindowMs = redeliveryWindowMsDefault }: InboxOptions) {
    checkMs('redeliveryWindowMs', redeliveryWindowMs);
    this.#tx = tx;
    this.redeliveryWindowMs = redeliveryWindowMs;
    const inOwn = <T>(work: (ask: Ask) => Promise<T>): Promise<T> => this.#own(work);
    this.dead = deadLettersIn(words[tx.database], inOwn);
    this.positions = positionsIn(words[tx.database], (t) => this.#askIn(t), inOwn);
  }

  async once<Result extends KeptResult>(
    consumer: string,
    messageId: string,
    work: (t: Transaction<Client>) => Result | PromiseLike<Result>,
    { mode, ifBusy, client, ...scope }: OnceOptions<Client> = {},
  ): Promise<Once<Result>> {
    const key = messageKey(consumer, messageId);
    if (ifBusy === 'refuse' && mode !== 'lock-first') {
      throw new SettleError('config_invalid', "ifBusy 'refuse' is of the mode 'lock-first'", {
        next: "Say mode: 'lock-first', too",
      });
    }
    const options: JoiningOptions = {
      label: `inbox of ${consumer}`,
      retry: { attemptsMax: onceAttemptsMaxDefault },
      ...scope,
    };
    const run = async (t: Transaction<Client>): Promise<Once<Result>> => {
      const ask = this.#askIn(t);
      if (mode === 'lock-first') await this.#lock(ask, key, ifBusy ?? 'wait');
      return await this.#once(t, ask, key, work);
    };
    return await (client === undefined ? this.#tx.run(run, options) : this.#tx.of(client).run(run, options));
  }

  async prune({
    olderThanMs = this.redeliveryWindowMs,
    limit = pruneLimitDefault,
  }: PruneOptions = {}): Promise<number> {
    if (!(olderThanMs >= this.redeliveryWindowMs)) {
      const window = `${this.redeliveryWindowMs} ms (redeliveryWindowMs)`;
      throw new SettleError(
        'config_invalid',
        `olderThanMs is ${olderThanMs}, and messages may come again for ${window}`,
        {
          next: 'Keep them longer, or declare a shorter window',
        },
      );
    }
    if (!Number.isInteger(limit) || limit < 1 || limit > pruneLimitMax) {
      throw new SettleError(
        'config_invalid',
        `limit is ${limit}, not a whole number from 1 to ${pruneLimitMax}`,
      );
    }
    const statement = deleteOld(words[this.#tx.database], Math.floor(olderThanMs), limit);
    const { affected } = await this.#own((ask) => ask(statement));
    return affected;
  }

  /** I1, I2 */
  async #once<Result extends KeptResult>(
    t: Transaction<Client>,
    ask: Ask,
    key: MessageKey,
    work: (t: Transaction<Client>) => Result | PromiseLike<Result>,
  ): Promise<Once<Result>> {
    const w = words[this.#tx.database];
    const isFirst = w.isPlaced(await ask(insertMessage(w, key)));
    await this.#checkVersion(ask);
    if (!isFirst) {
      const { rows } = await ask(selectResult(w, key));
      // It was of this type when the work gave it back.
      return { duplicate: true, result: resultIn(rows[0]) as Result };
    }
    const result = await work(t);
    if (t.isRollbackOnly) throw new UnexpectedRollback(t.label, new Error('the work asked for a rollback'));
    const stored = storedResult(result);
    if (stored !== undefined) await ask(updateResult(w, key, stored));
    return { duplicate: false, result };
  }

  async #lock(ask: Ask, key: MessageKey, ifBusy: 'wait' | 'refuse'): Promise<void> {
    const { lock } = words[this.#tx.database];
    if (lock === undefined) return;
    const isLocked = lock.isLocked(await ask(ifBusy === 'wait' ? lock.wait(key) : lock.tryIt(key)));
    if (isLocked) return;
    if (ifBusy === 'wait') {
      throw new SettleError('unavailable', 'the inbox: the table settle_inbox_lock is not filled', {
        next: 'Call migrateInbox(driver) at the start',
        retryAfterMs: 1_000,
      });
    }
    throw new SettleError('unavailable', `the message ${key.messageId} is being handled by ${key.consumer}`, {
      next: 'It is tried again, and then is a duplicate or the first',
      retryAfterMs: 1_000,
    });
  }

  /** After the first insert, since a statement that reads would let MySQL take its snapshot before the wait. */
  async #checkVersion(ask: Ask): Promise<void> {
    if (this.#isVersionChecked) return;
    const { rows } = await ask({ sql: selectVersion, values: [] });
    checkedVersion(inboxSchema, this.#tx.database, rows[0]);
    this.#isVersionChecked = true;
  }

  /** In a transaction that takes no part in the caller's. At read committed: locks on gaps would stop consumers. */
  #own<T>(work: (ask: Ask) => Promise<T>): Promise<T> {
    return this.#tx.run((t) => work(this.#askIn(t)), {
      propagation: 'requiresNew',
      isolation: 'read-committed',
      retry: { attemptsMax: onceAttemptsMaxDefault },
      label: 'inbox',
    });
  }

  #askIn(t: Transaction<Client>): Ask {
    return async ({ sql, values }) => {
      try {
        return await t.query(sql, values);
      } catch (error) {
        throw dialects[this.#tx.database].missesTable(error) ? tablesMissing(error) : error;
      }
    };
  }
}

const dialects: ForEachDatabase<Dialect> = {
  postgres: postgresDialect,
  mysql: mysqlDialect,
  sqlite: sqliteDialect,
};

function tablesMissing(cause: unknown): SettleError {
  return new SettleError('tables_missing', 'the tables of the inbox are not there', {
    next: `Call ${inboxSchema.migrateWith} at the start, or run its statements in a migration of your own`,
    cause,
  });
}

function resultIn(row: unknown): unknown {
  const stored = isRow(row) ? row['result'] : undefined;
  return typeof stored === 'string' ? JSON.parse(stored) : undefined;
}
