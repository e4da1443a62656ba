import { mysqlAdapters } from '../outbox/adapters.ts';
import { mariadbDatabase } from '../services/mariadb.ts';
import { inboxContract } from './contract.ts';

/** Libraries on top of these begin their transactions by them. */
const drivers = ['mysql2', 'mariadb'];
const isolations = ['read-uncommitted', 'read-committed', 'repeatable-read', 'serializable'] as const;

const database = mariadbDatabase();

for (const [name, open] of Object.entries(mysqlAdapters)) {
  inboxContract({
    name,
    isolations: drivers.includes(name) ? isolations : ['repeatable-read'],
    writesSideBySide: true,
    open: (connectionsMax) => open(database.url, connectionsMax),
  });
}
