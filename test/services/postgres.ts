import { createHash, randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { inject } from 'vitest';
import { type DatabaseServer, databaseOfThisFile, type TestDatabase } from './database.ts';

export interface PostgresDatabaseOptions {
  /** SQL that fills a template, once for all files that give the same; without it the database is empty. */
  readonly schema?: string;
}

/** A fresh PostgreSQL database for this test file; a connection left open fails the file. */
export function postgresDatabase(options: PostgresDatabaseOptions = {}): TestDatabase {
  return databaseOfThisFile(() => openPostgres(inject('services').postgres, options));
}

export async function openPostgres(
  url: string,
  { schema }: PostgresDatabaseOptions = {},
): Promise<DatabaseServer> {
  const admin = await connect(url);
  return {
    async create(label) {
      const name = `settle_${label.replace(/\W/g, '_').slice(0, 40)}_${randomBytes(4).toString('hex')}`;
      const template = schema === undefined ? 'template0' : await templateOf(schema, admin, url);
      await admin.query(`create database ${name} template ${template}`);
      return { name, url: urlOf(url, name) };
    },
    async connectionsTo(name) {
      const { rows } = await admin.query<{ pid: number; query: string }>(
        // A reader of the log counts too; the server's own workers do not.
        `select pid, query from pg_stat_activity
         where datname = $1 and backend_type in ('client backend', 'walsender') order by pid`,
        [name],
      );
      return rows.map(({ pid, query }) => ({ id: pid, lastQuery: query === '' ? undefined : query }));
    },
    async drop(name) {
      await admin.query('select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1', [
        name,
      ]);
      await rollBackPrepared(admin, { name, url: urlOf(url, name) });
      await admin.query(
        'select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1',
        [name],
      );
      await admin.query(`drop database ${name} with (force)`);
    },
    close: () => admin.end(),
  };
}

/** A name made of the content: whoever comes second finds the template of the first. */
async function templateOf(schema: string, admin: Client, url: string): Promise<string> {
  const name = `settle_template_${createHash('sha256').update(schema).digest('hex').slice(0, 16)}`;
  // Many files start at once, and only one may fill the template.
  await admin.query('select pg_advisory_lock(hashtext($1))', [name]);
  try {
    const { rowCount } = await admin.query('select from pg_database where datname = $1', [name]);
    if (rowCount === 0) await makeTemplate(name, schema, { admin, url });
  } finally {
    await admin.query('select pg_advisory_unlock(hashtext($1))', [name]);
  }
  return name;
}

/** It gets its name last, so that a template of that name is always whole. */
async function makeTemplate(
  name: string,
  schema: string,
  { admin, url }: { readonly admin: Client; readonly url: string },
): Promise<void> {
  const unfinished = `${name}_unfinished`;
  await admin.query(`drop database if exists ${unfinished} with (force)`);
  await admin.query(`create database ${unfinished} template template0`);
  const client = await connect(urlOf(url, unfinished));
  try {
    await client.query(schema);
  } finally {
    await client.end();
  }
  await admin.query(`alter database ${unfinished} rename to ${name}`);
}

/** A prepared transaction outlives its connection, keeps its database from being dropped, and ends only from within. */
async function rollBackPrepared(
  admin: Client,
  { name, url }: { readonly name: string; readonly url: string },
): Promise<void> {
  const { rows } = await admin.query<{ gid: string }>(
    'select gid from pg_prepared_xacts where database = $1',
    [name],
  );
  if (rows.length === 0) return;
  const client = await connect(url);
  try {
    for (const { gid } of rows) await client.query(`rollback prepared ${client.escapeLiteral(gid)}`);
  } finally {
    await client.end();
  }
}

export async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return client;
}

/** The same server, and this database of it. */
export function urlOf(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}
