import { createServer } from 'node:net';

const portsTried = 50;

/** The port itself, or the next one that nobody listens on. */
export async function freePort(first: number): Promise<number> {
  const last = Math.min(first + portsTried, 65_535);
  for (let port = first; port <= last; port++) {
    const free = await tryPort(port);
    if (free !== undefined) return free;
  }
  return (await tryPort(0)) ?? 0;
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      const found = typeof address === 'object' && address !== null ? address.port : undefined;
      server.close(() => resolve(found));
    });
  });
}
