import { sqliteDialect } from '../../local/dialect.ts';
import { columns, fieldsOf, rowsOf, textsOf, type OutboxSql } from './outbox-sql.ts';

/** By the clock of the database, as the tables' own default is. */
const nowMs = "cast(round(unixepoch('subsec') * 1000) as integer)";
const row = '(?, ?, ?, ?, ?, ?, ?, ?, ?)';
const delayedRow = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ${nowMs} + ?)`;

export const outboxOnSqlite: OutboxSql = {
  dialect: sqliteDialect,
  lock: undefined,
  locksDedupKeys: false,
  async remember(run, claims) {
    const { rows } = await run({
      sql: `insert into settle_outbox_dedup (dedup_key, message_id) values ${rowsOf('(?, ?)', claims.length)} on conflict do nothing returning dedup_key`,
      values: claims.flatMap(({ dedupKey, id }) => [dedupKey, id]),
    });
    return textsOf(rows);
  },
  // Each number of rows is a statement to be prepared; there is no way to the database that more of them would save.
  insertMax: 64,
  insert: (drafts) => ({
    sql: `insert into settle_outbox (${columns}) values ${rowsOf(row, drafts.length)}`,
    values: drafts.flatMap(fieldsOf),
  }),
  insertDelayed: (drafts) => ({
    sql: `insert into settle_outbox_delayed (${columns}, due_at) values ${rowsOf(delayedRow, drafts.length)}`,
    values: drafts.flatMap((draft) => [...fieldsOf(draft), draft.delayMs]),
  }),
};
