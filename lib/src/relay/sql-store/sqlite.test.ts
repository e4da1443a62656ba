import { DatabaseSync } from 'node:sqlite';
import Database from 'better-sqlite3';
import { describe, it } from 'vitest';
import { sqlPlace } from '../../../../test/relay/sql-place.ts';
import { betterSqliteDriver } from '../../local/adapters/better-sqlite3.ts';
import { nodeSqliteDriver } from '../../local/adapters/node-sqlite.ts';
import { relayStoreContract } from '../store-contract.ts';

const lacks = {
  writers: 'SQLite has one writer at a time',
  readers: 'one handle has one transaction at a time',
};

relayStoreContract(
  { describe, it },
  'node:sqlite',
  () => sqlPlace(nodeSqliteDriver(new DatabaseSync(':memory:'))),
  lacks,
);
relayStoreContract(
  { describe, it },
  'better-sqlite3',
  () => sqlPlace(betterSqliteDriver(new Database(':memory:'))),
  lacks,
);
