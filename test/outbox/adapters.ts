// Every adapter of settle/local that reaches a server, opened over a database of the test, for what has to work with all of them.
import 'reflect-metadata';
import { MikroORM } from '@mikro-orm/postgresql';
import { PrismaPg } from '@prisma/adapter-pg';
import { drizzle as drizzleMysql2 } from 'drizzle-orm/mysql2';
import { drizzle } from 'drizzle-orm/node-postgres';
import Knex from 'knex';
import { CamelCasePlugin, Kysely, MysqlDialect, PostgresDialect } from 'kysely';
import * as mariadb from 'mariadb';
import { createPool as createCallbackPool } from 'mysql2';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import postgres from 'postgres';
import { Sequelize } from 'sequelize';
import { DataSource } from 'typeorm';
import { drizzleDriver } from '../../lib/src/local/adapters/drizzle.ts';
import { knexDriver } from '../../lib/src/local/adapters/knex.ts';
import { kyselyDriver } from '../../lib/src/local/adapters/kysely.ts';
import { mariadbDriver } from '../../lib/src/local/adapters/mariadb.ts';
import { mikroOrmDriver } from '../../lib/src/local/adapters/mikro-orm.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { postgresJsDriver } from '../../lib/src/local/adapters/postgres-js.ts';
import { prismaAdapter, prismaDriver } from '../../lib/src/local/adapters/prisma.ts';
import { sequelizeDriver } from '../../lib/src/local/adapters/sequelize.ts';
import { typeormDriver } from '../../lib/src/local/adapters/typeorm.ts';
import { prismaClient } from '../local/prisma-client.ts';
import type { OpenDriver } from '../local/subject.ts';

/** Over a pool of that many connections. */
export type OpenAdapter = (url: string, connectionsMax: number) => Promise<OpenDriver<unknown>>;

const openPg: OpenAdapter = async (connectionString, max) => {
  const pool = new Pool({ connectionString, max });
  pool.on('error', () => {});
  return { driver: pgDriver(pool), close: () => pool.end() };
};

const openMysql2: OpenAdapter = async (uri, connectionLimit) => {
  const pool = createPool({ uri, connectionLimit });
  return { driver: mysql2Driver(pool), close: () => pool.end() };
};

export const postgresAdapters: Readonly<Record<string, OpenAdapter>> = {
  pg: openPg,
  // Names of columns are changed on their way, to see that nothing of ours depends on them.
  async 'postgres.js'(url, max) {
    const sql = postgres(url, { max, onnotice: () => {}, transform: postgres.camel });
    return { driver: postgresJsDriver(sql), close: () => sql.end({ timeout: 1 }) };
  },
  async 'Kysely over pg'(connectionString, max) {
    const pool = new Pool({ connectionString, max });
    const db = new Kysely({ dialect: new PostgresDialect({ pool }), plugins: [new CamelCasePlugin()] });
    return { driver: kyselyDriver(db, pgDriver(pool)), close: () => pool.end() };
  },
  async 'Drizzle over pg'(connectionString, max) {
    const pool = new Pool({ connectionString, max });
    return { driver: drizzleDriver(drizzle(pool), pgDriver), close: () => pool.end() };
  },
  async 'Knex over pg'(connection, max) {
    const knex = Knex({ client: 'pg', connection, pool: { min: 0, max } });
    return { driver: knexDriver(knex), close: () => knex.destroy() };
  },
  async 'TypeORM over pg'(url, poolSize) {
    const source = await new DataSource({ type: 'postgres', url, poolSize }).initialize();
    return { driver: typeormDriver(source, pgDriver), close: () => source.destroy() };
  },
  async 'Prisma over pg'(connectionString, max) {
    const pool = new Pool({ connectionString, max });
    const prisma = prismaClient(prismaAdapter(new PrismaPg(pool)), 'postgresql');
    const close = () => prisma.$disconnect().then(() => pool.end());
    return { driver: prismaDriver(prisma, pgDriver(pool)), close };
  },
  async 'MikroORM over pg'(clientUrl, max) {
    const orm = await MikroORM.init({
      entities: [],
      discovery: { warnWhenNoEntities: false },
      clientUrl,
      pool: { max },
    });
    return { driver: await mikroOrmDriver(orm, pgDriver), close: () => orm.close() };
  },
  async 'Sequelize over pg'(url, max) {
    const sequelize = new Sequelize(url, { logging: false, pool: { max } });
    return { driver: sequelizeDriver(sequelize, pgDriver), close: () => sequelize.close() };
  },
};

export const mysqlAdapters: Readonly<Record<string, OpenAdapter>> = {
  mysql2: openMysql2,
  async mariadb(url, connectionLimit) {
    const { hostname: host, port, username: user, password, pathname } = new URL(url);
    const server = { host, port: Number(port), user, password, database: pathname.slice(1) };
    const pool = mariadb.createPool({ ...server, connectionLimit });
    return { driver: mariadbDriver(pool, { connectionLimit }), close: () => pool.end() };
  },
  async 'Kysely over mysql2'(uri, connectionLimit) {
    const pool = createCallbackPool({ uri, connectionLimit });
    const db = new Kysely({ dialect: new MysqlDialect({ pool }) });
    return { driver: kyselyDriver(db, mysql2Driver(pool)), close: () => pool.promise().end() };
  },
  async 'Drizzle over mysql2'(uri, connectionLimit) {
    const pool = createPool({ uri, connectionLimit });
    return { driver: drizzleDriver(drizzleMysql2(pool), mysql2Driver), close: () => pool.end() };
  },
  async 'Knex over mysql2'(connection, max) {
    const knex = Knex({ client: 'mysql2', connection, pool: { min: 0, max } });
    return { driver: knexDriver(knex), close: () => knex.destroy() };
  },
  async 'TypeORM over mysql2'(url, poolSize) {
    const source = await new DataSource({ type: 'mysql', url, poolSize }).initialize();
    return { driver: typeormDriver(source, mysql2Driver), close: () => source.destroy() };
  },
  async 'Sequelize over mysql2'(url, max) {
    const sequelize = new Sequelize(url, { logging: false, pool: { max } });
    return { driver: sequelizeDriver(sequelize, mysql2Driver), close: () => sequelize.close() };
  },
};
