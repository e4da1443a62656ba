import { createPool as createMariadbPool, type Pool as MariadbPool } from 'mariadb';
import { createPool, type Pool } from 'mysql2/promise';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { sqlPlace } from '../../../../test/relay/sql-place.ts';
import { mariadbDatabase } from '../../../../test/services/mariadb.ts';
import { mariadbDriver } from '../../local/adapters/mariadb.ts';
import { mysql2Driver } from '../../local/adapters/mysql2.ts';
import type { Driver } from '../../local/driver.ts';
import { relayStoreContract } from '../store-contract.ts';

const database = mariadbDatabase();
/** As many as the contract has writers at once, and some for the relay. */
const connectionLimit = 70;
let mysql2Pool: Pool;
let mariadbPool: MariadbPool;
let mysql2: Driver<unknown>;
let mariadb: Driver<unknown>;

beforeAll(() => {
  mysql2Pool = createPool({ uri: database.url, connectionLimit });
  const { hostname: host, port, username: user, password, pathname } = new URL(database.url);
  mariadbPool = createMariadbPool({
    host,
    port: Number(port),
    user,
    password,
    database: pathname.slice(1),
    connectionLimit,
    minimumIdle: 1,
  });
  mysql2 = mysql2Driver(mysql2Pool);
  mariadb = mariadbDriver(mariadbPool);
});

afterAll(async () => {
  await mysql2Pool.end();
  await mariadbPool.end();
});

relayStoreContract({ describe, it }, 'MariaDB over mysql2', () => sqlPlace(mysql2));
relayStoreContract({ describe, it }, 'MariaDB over mariadb', () => sqlPlace(mariadb));
