/** The databases a service of the demo can have. */

export type DatabaseKind = 'sqlite' | ServerKind;

/** Those that a server keeps. */
export type ServerKind = 'postgres' | 'mariadb';

export const serverKinds: readonly ServerKind[] = ['postgres', 'mariadb'];

/** As their owners spell them. */
export const databaseNames: Readonly<Record<DatabaseKind, string>> = {
  sqlite: 'SQLite',
  postgres: 'PostgreSQL',
  mariadb: 'MariaDB',
};

/** Where one service's database is. */
export type Place =
  | { readonly kind: 'sqlite'; readonly file: string }
  /** Of the database itself, not of the server alone; it may hold a password. */
  | { readonly kind: ServerKind; readonly url: string };
