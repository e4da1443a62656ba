/** Which part of the log the server sends: inserts into the outbox alone, and of them no payloads. */
import { SettleError } from '../../../util/errors.ts';
import { firstRow, type PgQueries, sqlStateOf } from './clients.ts';

/** Throws `config_invalid` where the log cannot be read, or not with these rights. */
export async function ensurePublication(pool: PgQueries, publication: string, table: string): Promise<void> {
  const server = await firstRow(
    pool,
    `select current_setting('wal_level') as level, current_setting('server_version_num') as version`,
  );
  if (server?.['level'] !== 'logical') {
    throw new SettleError(
      'config_invalid',
      `the log has wal_level ${server?.['level'] ?? '(unknown)'}, not logical`,
      {
        next: 'Set wal_level = logical and restart the server; or leave postgresLogWake out, and use notifyWake or polling',
      },
    );
  }
  const create = createPublication(publication, table, Number(server['version']));
  if (await isThere(pool, publication, table)) return;
  try {
    await pool.query(create, []);
  } catch (cause) {
    // Another relay was quicker.
    if (['42710', '23505'].includes(sqlStateOf(cause) ?? '') && (await isThere(pool, publication, table)))
      return;
    if (sqlStateOf(cause) !== '42501') throw cause;
    throw new SettleError('config_invalid', `we may not create the publication ${publication}`, {
      next: `As the owner of the table: ${create}`,
      cause,
    });
  }
}

/** The columns that are sent can be chosen since PostgreSQL 15. */
export function createPublication(publication: string, table: string, version: number): string {
  const columns = version >= 150_000 ? ' (lane)' : '';
  return `create publication ${publication} for table ${table}${columns} with (publish = 'insert')`;
}

async function isThere(pool: PgQueries, publication: string, table: string): Promise<boolean> {
  const row = await firstRow(
    pool,
    `select p.pubinsert as inserts, exists (
       select from pg_publication_tables t
       where t.pubname = p.pubname and format('%I.%I', t.schemaname, t.tablename)::regclass = $2::regclass
     ) as holds from pg_publication p where p.pubname = $1`,
    [publication, table],
  );
  if (row === undefined) return false;
  if (row['inserts'] === 'true' && row['holds'] === 'true') return true;
  throw new SettleError(
    'config_invalid',
    `the publication ${publication} does not tell of inserts into ${table}`,
    {
      next: 'Drop it, and it is made anew; or name another one',
    },
  );
}
