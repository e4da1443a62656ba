import { randomBytes } from 'node:crypto';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { inject } from 'vitest';
import { type DatabaseServer, databaseOfThisFile, type TestDatabase } from './database.ts';

/** A fresh MariaDB database for this test file; a connection left open fails the file. */
export function mariadbDatabase(): TestDatabase {
  return databaseOfThisFile(() => openMariadb(inject('services').mariadb));
}

export async function openMariadb(url: string): Promise<DatabaseServer> {
  const admin = await createConnection({ uri: url });
  // A prepared XA transaction holds its locks after its connection is gone: say so soon instead of waiting for a day.
  await admin.query('set session lock_wait_timeout = 3, innodb_lock_wait_timeout = 3');

  async function connectionsTo(name: string) {
    // Only connections that have the database as their current one are seen here.
    const [rows] = await admin.query<(RowDataPacket & { id: number; lastQuery: string | null })[]>(
      `select p.id as id, coalesce(p.info, s.sql_text) as lastQuery
       from information_schema.processlist p
       left join performance_schema.threads t on t.processlist_id = p.id
       left join performance_schema.events_statements_current s on s.thread_id = t.thread_id
       where p.db = ? order by p.id`,
      [name],
    );
    return rows.map(({ id, lastQuery }) => ({ id, lastQuery: lastQuery ?? undefined }));
  }

  return {
    async create(label) {
      const name = `settle_${label.replace(/\W/g, '_').slice(0, 40)}_${randomBytes(4).toString('hex')}`;
      await admin.query(`create database ${name}`);
      return { name, url: urlOf(url, name) };
    },
    connectionsTo,
    async drop(name) {
      for (const { id } of await connectionsTo(name)) {
        // It may have ended by itself since.
        await admin.query(`kill ${id}`).catch(() => {});
      }
      try {
        await admin.query(`drop database ${name}`);
      } catch (cause) {
        const [prepared] = await admin.query<RowDataPacket[]>('xa recover');
        const ids = prepared.map((row) => String(row.data)).join(', ') || 'none';
        throw new Error(`the database ${name} cannot be dropped; prepared XA transactions: ${ids}`, {
          cause,
        });
      }
    },
    close: () => admin.end(),
  };
}

/** The same server, and this database of it. */
export function urlOf(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}
