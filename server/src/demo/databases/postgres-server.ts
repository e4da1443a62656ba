import { Pool } from 'pg';
import { connectTimeoutMs, urlOfDatabase, type DatabaseServer } from './database-server.ts';

export async function openPostgresServer(url: string): Promise<DatabaseServer> {
  // Without a name pg would ask for a database that is called like the user.
  const connectionString = new URL(url).pathname.length > 1 ? url : urlOfDatabase(url, 'postgres');
  // One connection, which is replaced when it breaks.
  const pool = new Pool({ connectionString, max: 1, connectionTimeoutMillis: connectTimeoutMs });
  pool.on('error', () => {});
  try {
    await pool.query('select 1');
  } catch (error) {
    await pool.end();
    throw error;
  }
  return {
    async create(name) {
      // What is compared byte by byte here is so in the other databases.
      await pool.query(
        `create database ${name} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'`,
      );
      return urlOfDatabase(url, name);
    },
    urlOf: (name) => urlOfDatabase(url, name),
    async cutConnections(name) {
      const { rowCount } = await pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = $1 and backend_type = 'client backend'`,
        [name],
      );
      return rowCount ?? 0;
    },
    async drop(name) {
      await pool.query(`drop database if exists ${name} with (force)`);
    },
    close: () => pool.end(),
  };
}
