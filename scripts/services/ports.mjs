// Finds ports of 127.0.0.1 that nobody listens on.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below what systems give to outgoing connections (from 32768 on Linux, from 49152 elsewhere): a client that tries again
 * and again to reach a server that was killed would one day be given the server's own port, and keep it from its restart.
 */
const range = { first: 10_000, last: 32_000 };
const attempts = 100;

export async function freePort() {
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const port = randomInt(range.first, range.last + 1);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port among ${attempts} between ${range.first} and ${range.last}`);
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
