/**
 * On MySQL and MariaDB. What a transaction does here about dedup keys waits at a slot (`settle_outbox_key_locks`) and never at
 * a row that may be rolled back: the waiting for such a row turns into locks on its gap, which deadlock (measured in
 * participant/mysql/queries.ts).
 */
import { mysqlDialect } from '../../local/dialect.ts';
import { statementMax } from '../limits.ts';
import { columns, fieldsOf, rowsOf, textsOf, type OutboxSql } from './outbox-sql.ts';

/** By the clock of the database, as the tables' own default is. */
const nowMs = "timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000";
const row = '(?, ?, ?, ?, ?, ?, ?, ?, ?)';
const delayedRow = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ${nowMs} + ?)`;

export const outboxOnMysql: OutboxSql = {
  dialect: mysqlDialect,
  // Numbers in the text: mysql2 sends every number as a double, with which it would have to look at all slots.
  lock: (slots) => ({
    sql: `select slot from settle_outbox_key_locks force index (primary) where slot in (${slots.join(', ')}) order by slot for update`,
    values: [],
  }),
  locksDedupKeys: true,
  async remember(run, claims) {
    // It changes every row it meets, so that the transaction sees them all, whatever its snapshot. The number of affected
    // rows does not tell which were new.
    await run({
      sql: `insert into settle_outbox_dedup (dedup_key, message_id) values ${rowsOf('(?, ?)', claims.length)} on duplicate key update repeats = repeats + 1`,
      values: claims.flatMap(({ dedupKey, id }) => [dedupKey, id]),
    });
    const { rows } = await run({
      sql: `select convert(dedup_key using utf8mb4) from settle_outbox_dedup where repeats = 0 and dedup_key in (${rowsOf('?', claims.length)})`,
      values: claims.map(({ dedupKey }) => dedupKey),
    });
    return textsOf(rows);
  },
  insertMax: statementMax.messages,
  insert: (drafts) => ({
    sql: `insert into settle_outbox (${columns}) values ${rowsOf(row, drafts.length)}`,
    values: drafts.flatMap(fieldsOf),
  }),
  insertDelayed: (drafts) => ({
    sql: `insert into settle_outbox_delayed (${columns}, due_at) values ${rowsOf(delayedRow, drafts.length)}`,
    values: drafts.flatMap((draft) => [...fieldsOf(draft), draft.delayMs]),
  }),
};
