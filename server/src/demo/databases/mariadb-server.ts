import { createPool, type RowDataPacket } from 'mysql2/promise';
import { connectTimeoutMs, urlOfDatabase, type DatabaseServer } from './database-server.ts';

export async function openMariadbServer(url: string): Promise<DatabaseServer> {
  // One connection, which is replaced when it breaks.
  const pool = createPool({ uri: url, connectionLimit: 1, connectTimeout: connectTimeoutMs });
  const rowsOf = async (sql: string, values: readonly string[] = []): Promise<readonly RowDataPacket[]> => {
    const [rows] = await pool.query<RowDataPacket[]>(sql, [...values]);
    return rows;
  };
  try {
    const version = String((await rowsOf('select version() as version'))[0]?.['version']);
    // `insert ... returning` is MariaDB's alone.
    if (!version.includes('MariaDB')) throw new Error(`it is MySQL ${version}, not MariaDB`);
  } catch (error) {
    await pool.end();
    throw error;
  }
  return {
    async create(name) {
      await pool.query(`create database ${name}`);
      return urlOfDatabase(url, name);
    },
    urlOf: (name) => urlOfDatabase(url, name),
    async cutConnections(name) {
      const rows = await rowsOf('select id from information_schema.processlist where db = ?', [name]);
      for (const { id } of rows) {
        // It may have ended by itself since.
        await pool.query(`kill connection ${Number(id)}`).catch(() => {});
      }
      return rows.length;
    },
    async drop(name) {
      await pool.query(`drop database if exists ${name}`);
    },
    close: () => pool.end(),
  };
}
