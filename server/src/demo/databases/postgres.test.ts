import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { parseBranchName, parseGid } from 'settle/core';
import { afterEach, expect, it } from 'vitest';
import { openPostgres } from './postgres.ts';

let server: Server | undefined;

afterEach(() => server?.close());

// pg then tells of the error when its pool listens no more, and the barrier not yet. It took down a service of the demo.
it('a connection that is ended in the packet that opens it fails the call, not the process', async () => {
  server = createServer((socket) => {
    socket.once('data', () => socket.end(Buffer.concat([authenticationOk, readyForQuery, terminated])));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const database = openPostgres(`postgres://me@127.0.0.1:${port}/x?sslmode=disable`);
  const call = { gid: parseGid('g'), branch: parseBranchName('b'), op: 'action' } as const;
  await expect(database.barrier.run(call, () => undefined)).rejects.toMatchObject({ code: 'unavailable' });
  await database.close();
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
