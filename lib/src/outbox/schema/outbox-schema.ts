/** All versions of the outbox's tables. An older version is never changed once it was released. */
import type { Schema } from '../../local/schema.ts';
import { mysqlVersion1 } from './mysql.ts';
import { postgresVersion1 } from './postgres.ts';
import { sqliteVersion1 } from './sqlite.ts';

export const outboxSchema: Schema = {
  name: 'outbox',
  migrateWith: 'migrateOutbox(driver)',
  versions: { postgres: [postgresVersion1], mysql: [mysqlVersion1], sqlite: [sqliteVersion1] },
};
