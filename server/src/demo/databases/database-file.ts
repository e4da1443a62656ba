/** The SQLite file of a service: its database, or a copy of the one it has on a server. */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceName } from '../service-names.ts';
import { openDatabase, type ServiceDatabase } from './service-database.ts';
import type { Place } from './kinds.ts';
import { openSqlite } from './sqlite.ts';
import { createTables, insertRows, tablesOf, type Row } from './tables.ts';

export function databaseFile(dir: string, service: ServiceName): string {
  return join(dir, `${service}.db`);
}

/** Writes the file anew, under another name first, so that one with its own name is whole. */
export async function writeDatabaseFile(
  file: string,
  fill: (database: ServiceDatabase) => Promise<void>,
): Promise<void> {
  const unfinished = `${file}.unfinished`;
  remove(unfinished);
  const database = openSqlite(unfinished);
  try {
    await database.query('begin', []);
    await fill(database);
    await database.query('commit', []);
  } finally {
    await database.close();
  }
  // With what SQLite keeps beside it, which would be taken for a part of the new one.
  remove(file);
  renameSync(unfinished, file);
}

function remove(file: string): void {
  for (const ending of ['', '-wal', '-shm']) rmSync(`${file}${ending}`, { force: true });
}

/** Copies every row of a service's database on a server into its file. Numbers stay exact: they come as text. */
export async function copyToFile(place: Place, service: ServiceName, file: string): Promise<void> {
  const source = await openDatabase(place);
  try {
    await writeDatabaseFile(file, async ({ query, types }) => {
      await createTables(query, service, types);
      for (const table of tablesOf[service]) {
        const { rows } = await source.query(`select * from ${table}`, []);
        // Of our own tables, which hold numbers and text alone.
        await insertRows(query, table, rows as readonly Row[]);
      }
    });
  } finally {
    await source.close();
  }
}
