import { Pool } from 'pg';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { sqlPlace } from '../../../../test/relay/sql-place.ts';
import { postgresDatabase } from '../../../../test/services/postgres.ts';
import { pgDriver } from '../../local/adapters/pg.ts';
import { postgresJsDriver } from '../../local/adapters/postgres-js.ts';
import type { Driver } from '../../local/driver.ts';
import { relayStoreContract } from '../store-contract.ts';

const database = postgresDatabase();
/** As many as the contract has writers at once, and some for the relay. */
const max = 70;
let pool: Pool;
let sql: Sql;
let pg: Driver<unknown>;
let postgresJs: Driver<unknown>;

beforeAll(() => {
  pool = new Pool({ connectionString: database.url, max });
  sql = postgres(database.url, { max, onnotice: () => {} });
  pg = pgDriver(pool);
  postgresJs = postgresJsDriver(sql);
});

afterAll(async () => {
  await pool.end();
  await sql.end({ timeout: 1 });
});

relayStoreContract({ describe, it }, 'PostgreSQL over pg', () => sqlPlace(pg));
relayStoreContract({ describe, it }, 'PostgreSQL over postgres.js', () => sqlPlace(postgresJs));
