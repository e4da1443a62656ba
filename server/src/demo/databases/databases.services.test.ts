// The services' business on real servers: the same as in SQLite, to the cent.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Refused } from 'settle/participant';
import { parseBranchName, parseGid } from 'settle/core';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { orderAt } from '../order-stream.ts';
import * as orders from '../services/orders.ts';
import * as stock from '../services/stock.ts';
import * as wallet from '../services/wallet.ts';
import { serviceNames, type ServiceName } from '../service-names.ts';
import { createWorld } from '../world.ts';
import { copyToFile, databaseFile, writeDatabaseFile } from './database-file.ts';
import { openServer, type DatabaseServer } from './database-server.ts';
import { serverKinds, type Place } from './kinds.ts';
import { openDatabase, type ServiceDatabase } from './service-database.ts';
import { createTables, fillTables, tablesOf } from './tables.ts';

const world = createWorld(7, 60);

describe.each(serverKinds)('on %s', (kind) => {
  let server: DatabaseServer;
  let dir = '';
  const run = randomBytes(4).toString('hex');
  const nameOf = (service: ServiceName): string => `settle_demo_test_${run}_${service}`;
  const place = (service: ServiceName): Place => ({ kind, url: server.urlOf(nameOf(service)) });

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'settle-databases-'));
    server = await openServer(kind, inject('services')[kind]);
    for (const service of serviceNames) {
      await server.create(nameOf(service));
      await using(place(service), (database) => make(database, service));
    }
  });

  afterEach(async () => {
    for (const service of serviceNames) await server.drop(nameOf(service));
    await server.close();
    rmSync(dir, { recursive: true });
  });

  it('the business leaves the rows that it leaves in SQLite', async () => {
    for (const service of serviceNames) {
      const file = join(dir, `${service}.sqlite`);
      await writeDatabaseFile(file, (database) => make(database, service));
      await using({ kind: 'sqlite', file }, (database) => doBusiness(database, service));
      await using(place(service), (database) => doBusiness(database, service));
      await copyToFile(place(service), service, databaseFile(dir, service));
      const found = rowsIn(databaseFile(dir, service), service);
      expect(found).toEqual(rowsIn(file, service));
      expect(found.flat().length).toBeGreaterThan(60);
    }
  });

  it('a number that no double can hold is copied exactly', async () => {
    const cents = '9007199254740993';
    await using(place('wallet'), ({ query }) =>
      Promise.resolve(query(`update till set takings_cents = ${cents}`, [])),
    );
    await copyToFile(place('wallet'), 'wallet', databaseFile(dir, 'wallet'));
    const db = new DatabaseSync(databaseFile(dir, 'wallet'), { readOnly: true });
    expect(db.prepare('select cast(takings_cents as text) as cents from till').get()).toEqual({ cents });
    db.close();
  });

  it('connections that are cut in the middle leave nothing, and the call is served when it comes again', async () => {
    await using(place('wallet'), async (database) => {
      const { barrier, query } = database;
      await database.migrate();
      const call = { gid: parseGid('g'), branch: parseBranchName('b'), op: 'action' } as const;
      const take = async (cutFirst: boolean) =>
        barrier.run(call, async (within) => {
          await within('update till set takings_cents = takings_cents + ?', [1]);
          if (cutFirst) await server.cutConnections(nameOf('wallet'));
        });
      await expect(take(true)).rejects.toMatchObject({ code: 'unavailable' });
      await take(false);
      await take(false);
      const { rows } = await query('select takings_cents from till', []);
      expect(rows).toEqual([{ takings_cents: '1' }]);
    });
  });

  it('a user whom the server does not know is refused', async () => {
    const url = new URL(inject('services')[kind]);
    url.username = 'nobody_of_settle';
    url.password = 'secret';
    const failed = openServer(kind, url.href);
    await expect(failed).rejects.toMatchObject({ code: 'config_invalid' });
    await expect(failed).rejects.toThrow(/cannot be used: .*nobody_of_settle/);
  });
});

async function using(place: Place, use: (database: ServiceDatabase) => Promise<unknown>): Promise<void> {
  const database = await openDatabase(place);
  try {
    await use(database);
  } finally {
    await database.close();
  }
}

async function make({ query, types }: ServiceDatabase, service: ServiceName): Promise<void> {
  await createTables(query, service, types);
  await fillTables(query, service, world);
}

/** Every operation of the service, on orders of which some cannot be served. */
async function doBusiness({ query }: ServiceDatabase, service: ServiceName): Promise<void> {
  for (let sequence = 1; sequence <= 60; sequence++) {
    const { how, ...rest } = orderAt(world, 7, sequence);
    const order = { ...rest, pattern: how.pattern, reference: sequence };
    const id = `a-${sequence}`;
    const odd = sequence % 2 === 1;
    switch (service) {
      case 'orders':
        await (odd ? orders.createOrder : orders.acceptAtOnce)(query, id, order);
        await (sequence % 3 === 0 ? orders.cancelOrder : orders.acceptOrder)(query, id);
        break;
      case 'stock':
        await stock.deliver(query, `m-${sequence}`, order);
        if ((await stock.reserve(query, id, order).catch(refused)) !== 'refused' && odd)
          await stock.release(query, id, order);
        if ((await stock.hold(query, `t-${sequence}`, order).catch(refused)) !== 'refused')
          await (odd ? stock.sellHeld : stock.freeHeld)(query, `t-${sequence}`, order);
        break;
      case 'wallet':
        await wallet.bill(query, `m-${sequence}`, order);
        if ((await wallet.charge(query, id, order).catch(refused)) !== 'refused' && odd)
          await wallet.refund(query, id, order);
        if ((await wallet.hold(query, `t-${sequence}`, order).catch(refused)) !== 'refused')
          await (odd ? wallet.takeHeld : wallet.freeHeld)(query, `t-${sequence}`, order);
    }
  }
}

function refused(error: unknown): 'refused' {
  if (error instanceof Refused) return 'refused';
  throw error;
}

function rowsIn(file: string, service: ServiceName): readonly (readonly unknown[])[] {
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    return tablesOf[service].map((table) => {
      const rows = db.prepare(`select * from ${table}`).all();
      return rows.map((row) => JSON.stringify(row)).toSorted();
    });
  } finally {
    db.close();
  }
}
