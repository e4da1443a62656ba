/** A driver for the database of an outbox, for a command that asks it a few things and ends. */
import { existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { SettleError } from 'settle/core';
import type { Driver } from 'settle/local';
import { mysql2Driver } from 'settle/local/mysql2';
import { nodeSqliteDriver } from 'settle/local/node-sqlite';
import { pgDriver } from 'settle/local/pg';
import { messageOf } from '../message-of.ts';
import type { OutboxPlace } from './place.ts';

export interface OpenedDatabase extends AsyncDisposable {
  readonly driver: Driver<unknown>;
}

/** Milliseconds until a server has to take a connection, and that a SQLite file may be locked by others. */
const patienceMs = 5_000;

/**
 * Of a server nothing is asked yet. A SQLite file that is not there is `unavailable`, unless it may be made: a misspelt name
 * would be an empty outbox.
 */
export function openDatabase(place: OutboxPlace, { create }: { readonly create: boolean }): OpenedDatabase {
  switch (place.kind) {
    case 'postgres': {
      const pool = new Pool({ connectionString: place.url, max: 1, connectionTimeoutMillis: patienceMs });
      // Whoever asks next hears of it; without a listener it would end the process.
      pool.on('error', () => {});
      return { driver: pgDriver(pool), [Symbol.asyncDispose]: () => pool.end() };
    }
    case 'mysql': {
      const pool = createPool({ uri: place.url, connectionLimit: 1, connectTimeout: patienceMs });
      return { driver: mysql2Driver(pool), [Symbol.asyncDispose]: () => pool.end() };
    }
    case 'sqlite': {
      const db = openFile(place.file, create);
      return { driver: nodeSqliteDriver(db), [Symbol.asyncDispose]: async () => db.close() };
    }
  }
}

function openFile(file: string, create: boolean): DatabaseSync {
  if (!create && !existsSync(file)) {
    throw new SettleError('unavailable', `there is no file ${file}`, {
      next: 'Correct the path; settle outbox migrate makes a new one',
    });
  }
  try {
    const db = new DatabaseSync(file);
    db.exec(`pragma busy_timeout = ${patienceMs}`);
    return db;
  } catch (cause) {
    throw new SettleError('unavailable', `${file} cannot be opened: ${messageOf(cause)}`, {
      next: 'Correct the path, or who may read and write there',
      cause,
    });
  }
}
