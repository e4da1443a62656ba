import { createPool as createMariadbPool } from 'mariadb';
import { createPool } from 'mysql2/promise';
import { mariadbDriver } from '../../lib/src/local/adapters/mariadb.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { mariadbDatabase } from '../services/mariadb.ts';
import { inboxContract } from './contract.ts';

const database = mariadbDatabase();
const isolations = ['read-committed', 'repeatable-read', 'serializable'] as const;

inboxContract({
  name: 'mysql2',
  isolations,
  writesSideBySide: true,
  async open(connectionLimit) {
    const pool = createPool({ uri: database.url, connectionLimit });
    return { driver: mysql2Driver(pool), close: () => pool.end() };
  },
});

inboxContract({
  name: 'mariadb',
  isolations,
  writesSideBySide: true,
  async open(connectionLimit) {
    const { hostname, port, username, password, pathname } = new URL(database.url);
    const pool = createMariadbPool({
      host: hostname,
      port: Number(port),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: pathname.slice(1),
      connectionLimit,
    });
    return { driver: mariadbDriver(pool, { connectionLimit }), close: () => pool.end() };
  },
});
