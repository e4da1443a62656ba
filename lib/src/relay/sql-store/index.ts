import type { Dialect } from '../../local/dialect.ts';
import type { Driver } from '../../local/driver.ts';
import { ownStatements } from '../../local/own-statements.ts';
import { outboxSchema } from '../../outbox/schema/outbox-schema.ts';
import type { RelayStore } from '../store.ts';
import { deadLettersOf, readBlockedKeys } from './dead-letters.ts';
import {
  checkVersion,
  claimLanes,
  forgetDeadRelays,
  forgetRelay,
  prolongLanes,
  releaseLanes,
  viewLanes,
} from './lanes.ts';
import { mysqlWords } from './mysql.ts';
import { postgresWords } from './postgres.ts';
import { promoteDue } from './promote.ts';
import { messageOf, rowsOf } from './rows.ts';
import { settleLanes } from './settle.ts';
import { sqliteWords } from './sqlite.ts';
import { readStats } from './stats.ts';
import { whole, wholeMs } from './whole.ts';
import type { Words } from './words.ts';

const wordsOf: Readonly<Record<Dialect['name'], Words>> = {
  postgres: postgresWords,
  mysql: mysqlWords,
  sqlite: sqliteWords,
};

/**
 * Where relays find the messages of an outbox: its tables, over any driver of `settle/local`. Takes one connection of the
 * pool for each call, and gives it back with the answer. A relay that shares its pool with requests waits for them, also with
 * its heartbeats: give it a pool of three connections where requests may take all there are for longer than its lease.
 *
 * Every call rejects with a SettleError: `tables_missing`, `store_newer` (of those that relays begin with, and operators call:
 * `heartbeat`, `dead` and `stats`), `database_access_denied`,
 * `unavailable` with the driver's error as its cause, or `config_invalid` for a driver that runs no statements with values.
 *
 * ```ts
 * const store = sqlRelayStore(pgDriver(pool));
 * ```
 */
export function sqlRelayStore(driver: Driver<unknown>): RelayStore {
  const words = wordsOf[driver.dialect.name];
  const own = ownStatements(driver, { label: 'outbox', migrateWith: outboxSchema.migrateWith });
  const dead = deadLettersOf(own, words);
  const checked = async <T>(work: () => Promise<T>): Promise<T> => {
    await checkVersion(own);
    return await work();
  };
  return {
    async heartbeat(relay, ttlMs) {
      await checkVersion(own);
      await prolongLanes(own, words, { relay, ttlMs });
      return await viewLanes(own, words, relay);
    },
    claim: (relay, ttlMs, lanes) => claimLanes(own, words, { relay, ttlMs, lanes }),
    release: (relay, lanes) => releaseLanes(own, words, { relay, lanes }),
    leave: (relay) => forgetRelay(own, words, relay),
    async read(requests) {
      if (requests.length === 0) return [];
      const { sql, values } = words.read(requests);
      const { rows } = await own.query(sql, values);
      return rowsOf(rows).map(messageOf);
    },
    settle: (settlements) => settleLanes(own, words, settlements),
    promote: (limit) => promoteDue(own, words, limit),
    blockedKeys: (lanes) => readBlockedKeys(own, words, lanes),
    async prune({ dedupOlderThanMs, limit }) {
      await forgetDeadRelays(own, words);
      const { sql, values } = words.pruneDedup(
        wholeMs('dedupOlderThanMs', dedupOlderThanMs),
        whole('limit', limit),
      );
      return (await own.query(sql, values)).affected;
    },
    dead: {
      list: (query, page) => checked(() => dead.list(query, page)),
      replay: (query, limit) => checked(() => dead.replay(query, limit)),
      purge: (query, limit) => checked(() => dead.purge(query, limit)),
    },
    stats: () => checked(() => readStats(own, words)),
  };
}
