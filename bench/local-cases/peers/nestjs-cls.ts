import 'reflect-metadata';
import { Module, type ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClsPluginTransactional, Propagation, TransactionHost } from '@nestjs-cls/transactional';
import { TransactionalAdapterDrizzleOrm } from '@nestjs-cls/transactional-adapter-drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { pgTable, serial, text as textColumn } from 'drizzle-orm/pg-core';
import { ClsModule, ClsService } from 'nestjs-cls';
import { Pool } from 'pg';
import { notOffered, type Peer, type Unit } from '../peer.ts';
import { versionsOf } from '../versions.ts';

export const note = pgTable('note', { id: serial().primaryKey(), text: textColumn().notNull() });

/** As its generic types have it for this adapter, if they knew this version of Drizzle. */
export interface Host {
  /** The current transaction, or else the database. */
  readonly tx: NodePgDatabase;
  withTransaction<T>(propagation: Propagation, work: () => Promise<T>): Promise<T>;
}

export const peer: Peer = {
  name: 'nestjs-cls',
  about: `${versionsOf('@nestjs-cls/transactional', 'nestjs-cls', '@nestjs/core', 'drizzle-orm', 'pg')}; its adapter for Drizzle`,
  offers: ['required', 'nested', 'requiresNew'],
  async open({ url, poolMax, acquireTimeoutMs }) {
    const pool = new Pool({
      connectionString: url,
      max: poolMax,
      ...(acquireTimeoutMs === undefined ? {} : { connectionTimeoutMillis: acquireTimeoutMs }),
    });
    const app = await NestFactory.createApplicationContext(moduleOver(drizzle(pool)), { logger: false });
    const [host, cls] = [app.get<unknown, Host>(TransactionHost), app.get(ClsService)];
    const unit: Unit = {
      async insert(text) {
        await host.tx.insert(note).values({ text });
      },
      async fail() {
        await host.tx.execute('select 1 / 0');
      },
      run: (propagation, work) => host.withTransaction(propagations[propagation], () => work(unit)),
      afterCommit: () => notOffered('afterCommit'),
    };
    return {
      // Its middleware opens a context for every request.
      run: (work) => cls.run(() => host.withTransaction(Propagation.Required, () => work(unit))),
      insert: (text) => unit.insert(text),
    };
  },
};

const propagations = {
  required: Propagation.Required,
  nested: Propagation.Nested,
  requiresNew: Propagation.RequiresNew,
} as const;

/** Decorators are called as functions: Node strips types, and no more. */
export function moduleOver(db: NodePgDatabase): ModuleClass {
  const token = 'drizzle';
  const drizzleModule = moduleOf({ providers: [{ provide: token, useValue: db }], exports: [token] });
  const adapter = new TransactionalAdapterDrizzleOrm({ drizzleInstanceToken: token });
  const plugin = new ClsPluginTransactional({ imports: [drizzleModule], adapter });
  return moduleOf({ imports: [ClsModule.forRoot({ plugins: [plugin] })] });
}

type ModuleClass = new () => object;

function moduleOf(metadata: ModuleMetadata): ModuleClass {
  const module = class {
    readonly metadata = metadata;
  };
  Module(metadata)(module);
  return module;
}
