import type { Driver } from '../../local/driver.ts';
import { migrateSchema, migrationOf, type Migration } from '../../local/schema.ts';
import { outboxSchema } from './outbox-schema.ts';

export { columnLengths, keyLockSlots } from './limits.ts';
export { outboxSchema } from './outbox-schema.ts';

/**
 * Creates what is missing of the outbox's tables, those of its relays among them. May run in several processes at once, and
 * at every start: where nothing is missing it is one read.
 *
 * Throws `store_newer` for tables that a newer version has made, and `unavailable` when the database does not do it.
 */
export async function migrateOutbox(driver: Driver<unknown>): Promise<void> {
  await migrateSchema(driver, outboxSchema);
}

/**
 * What `migrateOutbox` runs on an empty database, for those who keep all tables in migrations of their own: for each database
 * a list of statements, none of which ends in a semicolon. They may run again.
 */
export const outboxMigration: Migration = migrationOf(outboxSchema);
