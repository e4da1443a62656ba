import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { Pool } from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseBranchName, parseGid } from '../../core/ids.ts';
import { postgresBarrier } from '../../participant/postgres/index.ts';
import { createTransactions } from '../index.ts';
import { pgDriver } from './pg.ts';

let server: Server;
let pool: Pool;

beforeEach(async () => {
  server = createServer((socket) => {
    socket.once('data', () => socket.end(Buffer.concat([authenticationOk, readyForQuery, terminated])));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  pool = new Pool({ connectionString: `postgres://me@127.0.0.1:${port}/x?sslmode=disable` });
  pool.on('error', () => {});
});

afterEach(async () => {
  await pool.end();
  server.close();
});

// pg tells of it when its pool listens no more, and whoever asked for the connection not yet.
it('a connection that is ended in the packet that opens it fails the transaction, not the process', async () => {
  const tx = createTransactions(pgDriver(pool));
  await expect(tx.run((t) => t.client.query('select 1'))).rejects.toMatchObject({ code: 'connection_lost' });
});

it('and it fails the barrier, not the process', async () => {
  const call = { gid: parseGid('g'), branch: parseBranchName('b'), op: 'action' } as const;
  await expect(postgresBarrier(pool).run(call, () => undefined)).rejects.toMatchObject({
    code: 'unavailable',
  });
});

it('a connection is not given back while a cancel for it may still come', async () => {
  const released: unknown[] = [];
  const client = {
    query: () => Promise.resolve({ command: null, rows: [], rowCount: 0 }),
    release: (destroy?: boolean) => void released.push(destroy),
    on: () => {},
    processID: 7,
  };
  class Client {
    on(): void {}
    connect = () => Promise.reject(new Error('no more connections'));
    query = () => Promise.resolve();
    end = () => Promise.resolve();
  }
  const fake = {
    connect: () => Promise.resolve(client),
    query: () => {},
    totalCount: 1,
    options: {},
    Client,
  };
  const driver = pgDriver(fake);
  const connection = await driver.acquire({ readOnly: false });
  await connection.release('reuse');
  await expect(connection.cancel?.()).rejects.toThrow('no more connections');
  await connection.release('reuse');
  expect(released).toEqual([false, true]);
});

// https://www.postgresql.org/docs/current/protocol-message-formats.html
const authenticationOk = message('R', Buffer.from([0, 0, 0, 0]));
const readyForQuery = message('Z', Buffer.from('I'));
const terminated = message('E', Buffer.from('SFATAL\0C57P01\0Mterminating connection\0\0'));

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}
