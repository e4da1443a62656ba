/** `settle outbox`: looks at an outbox and its dead letters, and does something about them. */
import { isSettleError, SettleError, type ErrorCode } from 'settle/core';
import { inboxMigration, migrateInbox } from 'settle/inbox';
import { migrateOutbox, outboxMigration } from 'settle/outbox';
import { sqlRelayStore, type DeadLetterQuery, type RelayStore } from 'settle/relay';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { openDatabase } from '../outbox/open-database.ts';
import { deadPageAsJson, describeDeadPage, describeStats, statsAsJson } from '../outbox/show.ts';
import { readOutboxCommand, type OutboxCommand, type SqlDialect } from './outbox-options.ts';

/** Dead letters that one statement takes. */
const takenAtOnce = 1_000;

export async function outboxCommand(
  argv: readonly string[],
  print: (text: string) => void,
): Promise<ExitCode> {
  const command = readOutboxCommand(argv, process.env);
  if (command.kind === 'sql') {
    print(migrationText(command.dialect));
    return exitCodes.done;
  }
  await using database = openDatabase(command.place, { create: command.kind === 'migrate' });
  try {
    if (command.kind === 'migrate') {
      await migrateOutbox(database.driver);
      await migrateInbox(database.driver);
      print(
        command.json
          ? JSON.stringify({ migrated: ['outbox', 'inbox'] })
          : 'the tables of outbox and inbox are there',
      );
    } else {
      const { text, json } = await answer(command, sqlRelayStore(database.driver));
      print(command.json ? JSON.stringify(json, null, 2) : text);
    }
    return exitCodes.done;
  } catch (error) {
    throw inWordsOfTheCommand(error);
  }
}

interface Answer {
  readonly text: string;
  readonly json: object;
}

async function answer(
  command: Exclude<OutboxCommand, { readonly kind: 'sql' | 'migrate' }>,
  store: RelayStore,
): Promise<Answer> {
  switch (command.kind) {
    case 'list': {
      const { query, limit, cursor } = command;
      const page = await store.dead.list(query, { limit, ...(cursor === undefined ? {} : { cursor }) });
      return { text: describeDeadPage(page), json: deadPageAsJson(page) };
    }
    case 'replay': {
      const replayed = await ofAllThere(store, command.query, (query) =>
        store.dead.replay(query, takenAtOnce),
      );
      return { text: `${letters(replayed)} put back`, json: { replayed } };
    }
    case 'purge': {
      const purged = await ofAllThere(store, command.query, (query) => store.dead.purge(query, takenAtOnce));
      return { text: `${letters(purged)} deleted`, json: { purged } };
    }
    case 'stats': {
      const stats = await store.stats();
      return { text: describeStats(stats), json: statsAsJson(stats) };
    }
  }
}

/** Of those that are dead now: one that is replayed and dies again meanwhile would keep us here for ever. */
async function ofAllThere(
  store: RelayStore,
  query: DeadLetterQuery,
  take: (query: DeadLetterQuery) => Promise<number>,
): Promise<number> {
  const { nowMs } = await store.stats();
  let all = 0;
  for (;;) {
    const taken = await take({ ...query, diedBeforeMs: nowMs + 1 });
    all += taken;
    if (taken < takenAtOnce) return all;
  }
}

function letters(count: number): string {
  return count === 1 ? '1 dead letter' : `${count} dead letters`;
}

function migrationText(dialect: SqlDialect): string {
  const name = dialect === 'mariadb' ? 'mysql' : dialect;
  return [...outboxMigration[name], ...inboxMigration[name]]
    .map((sql) => `${withoutIndent(sql)};`)
    .join('\n\n');
}

/** As deep as its last line, which is the outermost. */
function withoutIndent(sql: string): string {
  const indent = /\n( *)[^\n]*$/.exec(sql)?.[1] ?? '';
  return sql.trim().replaceAll(`\n${indent}`, '\n');
}

/** The library's advice is for programs: here another command does it, and nobody tries again. */
function inWordsOfTheCommand(error: unknown): unknown {
  if (!isSettleError(error)) return error;
  const next = advice[error.code];
  if (next === undefined) return error;
  return new SettleError(error.code, error.message.slice(`${error.code}: `.length), { next, cause: error });
}

const advice: Partial<Record<ErrorCode, string>> = {
  tables_missing: 'Correct --database if the outbox is elsewhere; settle outbox migrate creates the tables',
  database_access_denied: 'Correct user, password and database in --database',
  unavailable: 'Start the database, or correct --database',
};
