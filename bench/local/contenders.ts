import 'reflect-metadata';
import { drizzle } from 'drizzle-orm/node-postgres';
import { NestFactory } from '@nestjs/core';
import { Propagation, TransactionHost } from '@nestjs-cls/transactional';
import { ClsService } from 'nestjs-cls';
import { Pool } from 'pg';
import { createTransactions } from 'settle/local';
import { drizzleDriver } from 'settle/local/drizzle';
import { pgDriver } from 'settle/local/pg';
import { typeormDriver } from 'settle/local/typeorm';
import { DataSource } from 'typeorm';
import {
  addTransactionalDataSource,
  initializeTransactionalContext,
  runInTransaction,
  StorageDriver,
} from 'typeorm-transactional';
import { moduleOver, note, type Host } from '../local-cases/peers/nestjs-cls.ts';
import { note as entity } from '../local-cases/peers/typeorm-note.ts';
import type { Contender, OpenOptions } from './contender.ts';

const insert = 'insert into note (text) values ($1)';
function poolOf({ url, connections }: OpenOptions): Pool {
  return new Pool({ connectionString: url, max: connections });
}

function dataSourceOf({ url, connections }: OpenOptions): DataSource {
  return new DataSource({ type: 'postgres', url, entities: [entity], poolSize: connections });
}

export const contenders: readonly Contender[] = [
  {
    name: 'pg by hand',
    comparedWith: undefined,
    async open(options) {
      const pool = poolOf(options);
      return {
        async once(text) {
          const client = await pool.connect();
          try {
            await client.query('begin');
            await client.query(insert, [text]);
            await client.query('commit');
          } catch (error) {
            await client.query('rollback');
            throw error;
          } finally {
            client.release();
          }
        },
        close: () => pool.end(),
      };
    },
  },
  {
    name: 'settle over pg',
    comparedWith: 'pg by hand',
    async open(options) {
      const pool = poolOf(options);
      const tx = createTransactions(pgDriver(pool));
      return { once: (text) => tx.run((t) => t.client.query(insert, [text])), close: () => pool.end() };
    },
  },
  {
    name: 'settle over pg, ambient',
    comparedWith: 'pg by hand',
    async open(options) {
      const pool = poolOf(options);
      const tx = createTransactions(pgDriver(pool));
      return { once: (text) => tx.run(() => tx.db.query(insert, [text])), close: () => pool.end() };
    },
  },
  {
    name: 'Drizzle by hand',
    comparedWith: undefined,
    async open(options) {
      const pool = poolOf(options);
      const db = drizzle(pool);
      return {
        once: (text) => db.transaction((t) => t.insert(note).values({ text })),
        close: () => pool.end(),
      };
    },
  },
  {
    name: 'settle over Drizzle',
    comparedWith: 'Drizzle by hand',
    async open(options) {
      const pool = poolOf(options);
      const tx = createTransactions(drizzleDriver(drizzle(pool), pgDriver));
      return {
        once: (text) => tx.run((t) => t.client.insert(note).values({ text })),
        close: () => pool.end(),
      };
    },
  },
  {
    name: 'nestjs-cls over Drizzle',
    comparedWith: 'Drizzle by hand',
    async open(options) {
      const pool = poolOf(options);
      const app = await NestFactory.createApplicationContext(moduleOver(drizzle(pool)), { logger: false });
      const [host, cls] = [app.get<unknown, Host>(TransactionHost), app.get(ClsService)];
      return {
        once: (text) =>
          cls.run(() =>
            host.withTransaction(Propagation.Required, () => host.tx.insert(note).values({ text })),
          ),
        close: async () => {
          await app.close();
          await pool.end();
        },
      };
    },
  },
  {
    name: 'TypeORM by hand',
    comparedWith: undefined,
    async open(options) {
      const dataSource = await dataSourceOf(options).initialize();
      return {
        once: (text) => dataSource.transaction((manager) => manager.insert(entity, { text })),
        close: () => dataSource.destroy(),
      };
    },
  },
  {
    name: 'settle over TypeORM',
    comparedWith: 'TypeORM by hand',
    async open(options) {
      const dataSource = await dataSourceOf(options).initialize();
      const tx = createTransactions(typeormDriver(dataSource, pgDriver));
      return {
        once: (text) => tx.run((t) => t.client.insert(entity, { text })),
        close: () => dataSource.destroy(),
      };
    },
  },
  {
    name: 'typeorm-transactional',
    comparedWith: 'TypeORM by hand',
    async open(options) {
      // Its default, cls-hooked, costs more; this is the faster of the two. It patches Repository, which the others do not use.
      initializeTransactionalContext({ storageDriver: StorageDriver.ASYNC_LOCAL_STORAGE });
      const name = `for ${options.connections}`;
      const dataSource = addTransactionalDataSource({ name, dataSource: dataSourceOf(options) });
      await dataSource.initialize();
      const notes = dataSource.getRepository(entity);
      return {
        once: (text) => runInTransaction(() => notes.insert({ text }), { connectionName: name }),
        close: () => dataSource.destroy(),
      };
    },
  },
];
