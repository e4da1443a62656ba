/** The table of the cases, seen and emptied over connections that no peer knows of. */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import type { StoredRow } from './cases.ts';

export interface NoteDatabase {
  readonly url: string;
  /** Ends what is still connected, and empties the table. */
  clear(): Promise<void>;
  drop(): Promise<void>;
}

/** Makes a database of its own on that server, with a table `note` that also says who wrote a row. */
export async function createNoteDatabase(serverUrl: string): Promise<NoteDatabase> {
  const name = `settle_local_cases_${randomBytes(4).toString('hex')}`;
  await once(serverUrl, (client) => client.query(`create database ${name} template template0`));
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  await once(url.href, (client) =>
    client.query(`
      create table note (
        id serial primary key,
        text text not null,
        pid int not null default pg_backend_pid(),
        xid xid8 not null default pg_current_xact_id()
      )`),
  );
  return {
    url: url.href,
    async clear() {
      await once(serverUrl, (client) =>
        client.query('select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1', [
          name,
        ]),
      );
      await once(url.href, (client) => client.query('truncate note restart identity'));
    },
    async drop() {
      await once(serverUrl, (client) => client.query(`drop database ${name} with (force)`));
    },
  };
}

/** What is committed by now. */
export function storedIn(url: string): Promise<readonly StoredRow[]> {
  return once(url, async (client) => {
    const { rows } = await client.query<StoredRow>('select text, xid::text from note order by id');
    return rows;
  });
}

async function once<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
