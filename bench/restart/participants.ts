/**
 * A participant that holds its answers back until it is told to answer (`POST /answer`), then answers at once, and
 * tells its parent when the first call came after that.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ready } from '../harness/child.ts';

let holding = true;
let first = true;

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.on('end', () => {
    if (request.url === '/answer') {
      holding = false;
      response.end();
    } else if (!holding) {
      if (first) process.send?.({ firstCallAtMs: Date.now() });
      first = false;
      done(response);
    }
  });
  request.resume();
});

function done(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json', 'settle-barrier': 'stored' });
  response.end('{}');
}

server.listen(0, '127.0.0.1', () => ready(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
