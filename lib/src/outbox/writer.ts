/**
 * Writes messages in the transaction of their sender, in few statements however many they are.
 *
 * - W1 They are written in the order given: among those of one key, `seq` grows with it.
 * - W2 All take locks and dedup keys in one order, so that writers wait for each other, but never in a circle.
 * - W3 Of messages with one dedup key one is written: that of the first transaction to commit.
 */
import type { Dialect } from '../local/dialect.ts';
import { checkedVersion, type ForEachDatabase } from '../local/schema.ts';
import type { Transaction } from '../local/transaction.ts';
import { SettleError } from '../util/errors.ts';
import type { Draft } from './draft.ts';
import { statementMax } from './limits.ts';
import { hashOf } from './message.ts';
import { keyLockSlots } from './schema/limits.ts';
import { outboxSchema } from './schema/outbox-schema.ts';
import { outboxOnMysql } from './sql/mysql.ts';
import type { OutboxSql, Run, Statement } from './sql/outbox-sql.ts';
import { outboxOnPostgres } from './sql/postgres.ts';
import { outboxOnSqlite } from './sql/sqlite.ts';

const sqlOf: ForEachDatabase<OutboxSql> = {
  postgres: outboxOnPostgres,
  mysql: outboxOnMysql,
  sqlite: outboxOnSqlite,
};

export class Writer {
  readonly #database: Dialect['name'];
  readonly #sql: OutboxSql;
  readonly #serializeKeys: boolean;
  #isVersionKnown = false;

  constructor(database: Dialect['name'], serializeKeys: boolean) {
    this.#database = database;
    this.#sql = sqlOf[database];
    this.#serializeKeys = serializeKeys;
  }

  /**
   * Writes the messages, and gives back how many there are: a dedup key that is known already takes its message out. Throws
   * `tables_missing`, `store_newer`, and what the driver throws.
   */
  async write(t: Pick<Transaction<unknown>, 'query'>, drafts: readonly Draft[]): Promise<number> {
    const run: Run = ({ sql, values }) => t.query(sql, values);
    try {
      if (!this.#isVersionKnown) await this.#checkVersion(run);
      await this.#lock(run, drafts);
      const first = await this.#withoutRepeats(run, drafts);
      for (const statement of this.#inserts(first)) await run(statement);
      return first.length;
    } catch (error) {
      if (!this.#sql.dialect.missesTable(error)) throw error;
      throw new SettleError('tables_missing', 'the tables of the outbox are not there', {
        cause: error,
        next: `Call ${outboxSchema.migrateWith} at the start, or run its statements in a migration of your own`,
      });
    }
  }

  /** Once: what is newer has to be migrated while this program runs. */
  async #checkVersion(run: Run): Promise<void> {
    const { rows } = await run({
      sql: "select version from settle_schema where name = 'outbox'",
      values: [],
    });
    checkedVersion(outboxSchema, this.#database, rows[0]);
    this.#isVersionKnown = true;
  }

  /** W2 */
  async #lock(run: Run, drafts: readonly Draft[]): Promise<void> {
    const { lock, locksDedupKeys } = this.#sql;
    if (lock === undefined) return;
    const slots = new Set<number>();
    for (const { key, dedupKey } of drafts) {
      if (this.#serializeKeys && key !== null) slots.add(hashOf(key) % keyLockSlots);
      if (locksDedupKeys && dedupKey !== undefined) slots.add(hashOf(dedupKey) % keyLockSlots);
    }
    if (slots.size > 0) await run(lock([...slots].toSorted((a, b) => a - b)));
  }

  /** W2, W3 */
  async #withoutRepeats(run: Run, drafts: readonly Draft[]): Promise<readonly Draft[]> {
    const firsts = new Map<string, Draft>();
    for (const draft of drafts) {
      const { dedupKey } = draft;
      if (dedupKey !== undefined && !firsts.has(dedupKey)) firsts.set(dedupKey, draft);
    }
    if (firsts.size === 0) return drafts;
    const claims = [...firsts].map(([dedupKey, { id }]) => ({ dedupKey, id }));
    // By code units, whatever the collation: all that matters is that everybody does it so.
    claims.sort((a, b) => (a.dedupKey < b.dedupKey ? -1 : 1));
    const won = new Set<string>();
    for (const some of chunksOf(claims, this.#sql.insertMax, () => 0)) {
      for (const dedupKey of await this.#sql.remember(run, some)) won.add(dedupKey);
    }
    return drafts.filter(
      (draft) =>
        draft.dedupKey === undefined || (won.has(draft.dedupKey) && firsts.get(draft.dedupKey) === draft),
    );
  }

  /** W1 */
  *#inserts(drafts: readonly Draft[]): Generator<Statement> {
    const { insertMax } = this.#sql;
    const isDelayed = drafts.some(({ delayMs }) => delayMs > 0);
    const ready = isDelayed ? drafts.filter(({ delayMs }) => delayMs === 0) : drafts;
    for (const some of chunksOf(ready, insertMax, bytesOf)) yield this.#sql.insert(some);
    if (!isDelayed) return;
    const delayed = drafts.filter(({ delayMs }) => delayMs > 0);
    for (const some of chunksOf(delayed, insertMax, bytesOf)) yield this.#sql.insertDelayed(some);
  }
}

/** In order, as many together as one statement bears. */
function chunksOf<T>(items: readonly T[], lengthMax: number, bytesOf: (item: T) => number): readonly T[][] {
  const chunks: T[][] = [];
  let bytes = 0;
  for (const item of items) {
    const chunk = chunks.at(-1);
    bytes += bytesOf(item);
    if (chunk !== undefined && chunk.length < lengthMax && bytes <= statementMax.bytes) chunk.push(item);
    else {
      chunks.push([item]);
      bytes = bytesOf(item);
    }
  }
  return chunks;
}

function bytesOf({ bytes }: Draft): number {
  return bytes;
}
