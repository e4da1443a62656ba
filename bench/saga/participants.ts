/**
 * Two participants in one process that only answer: `/stored/*` announces a barrier, `/plain/*` does not.
 * No logic and no disk, so that the coordinator in front of them is what is measured.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ready } from '../harness/child.ts';

const answer = Buffer.from('{"ok":true}');
const plain = { 'content-type': 'application/json', 'content-length': String(answer.length) };
const stored = { ...plain, 'settle-barrier': 'stored' };

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.on('end', () => {
    response.writeHead(200, request.url?.startsWith('/stored/') ? stored : plain);
    response.end(answer);
  });
  request.resume();
});

server.listen(0, '127.0.0.1', () => ready(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
