import { postgresAdapters } from '../outbox/adapters.ts';
import { postgresDatabase } from '../services/postgres.ts';
import { inboxContract } from './contract.ts';

/** Libraries on top of these begin their transactions by them. */
const drivers = ['pg', 'postgres.js'];
const isolations = ['read-uncommitted', 'read-committed', 'repeatable-read', 'serializable'] as const;

const database = postgresDatabase();

for (const [name, open] of Object.entries(postgresAdapters)) {
  inboxContract({
    name,
    isolations: drivers.includes(name) ? isolations : ['repeatable-read'],
    writesSideBySide: true,
    open: (connectionsMax) => open(database.url, connectionsMax),
  });
}
