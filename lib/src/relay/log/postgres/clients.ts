import { SettleError } from '../../../util/errors.ts';

/** The part of a Client of `pg` with `replication: 'database'` that is used. */
export interface PgReplicationClient {
  connect(): Promise<unknown>;
  query(text: string): Promise<{ readonly rows: readonly unknown[] }>;
  end(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  readonly processID?: number | null;
  readonly connection: {
    on(event: 'replicationStart', listener: () => void): unknown;
    on(event: 'copyData', listener: (message: { readonly chunk: Uint8Array }) => void): unknown;
    readonly stream: { write(bytes: Uint8Array): unknown; destroy(): unknown };
  };
}

/** The part of a Pool of `pg` that is used. */
export interface PgQueries {
  query(text: string, values: string[]): Promise<{ readonly rows: readonly unknown[] }>;
}

/** The first row, as text by column; undefined where there is none. */
export async function firstRow(
  pool: PgQueries,
  text: string,
  values: string[] = [],
): Promise<Readonly<Record<string, string>> | undefined> {
  const { rows } = await pool.query(text, values);
  const [row] = rows;
  if (typeof row !== 'object' || row === null) return undefined;
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value)]));
}

/** The SQLSTATE of an error of the server. */
export function sqlStateOf(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** Throws `config_invalid` for what would need quoting; `parts` may be joined by dots. */
export function plainName(what: string, name: string, parts = 1): string {
  const words = name.split('.');
  if (words.length <= parts && words.every((word) => /^[a-z_][a-z0-9_]{0,62}$/.test(word))) return name;
  throw new SettleError('config_invalid', `the ${what} ${JSON.stringify(name)} is no plain name`, {
    next: 'Use at most 63 lower-case letters, digits and underscores',
  });
}
