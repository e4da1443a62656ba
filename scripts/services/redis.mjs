import { Redis } from 'ioredis';

const settings = ['--appendonly', 'yes', '--save', '', '--databases', '1024'];

/** @type {import('./services.mjs').Service} */
export const redis = {
  name: 'Redis',
  variable: 'SETTLE_TEST_REDIS',
  exampleUrl: 'redis://127.0.0.1:6379',
  binaries: ['redis-server'],
  folders: () => [],
  packages: ['redis-server'],
  user: 'redis',
  prepare: () => undefined,
  serve: ({ folder, programs, port }) => [
    programs['redis-server'],
    ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, ...settings],
  ],
  stopSignal: 'SIGKILL',
  image: { name: 'redis:7', port: 6379, options: () => [], args: settings },
  url: (port) => `redis://127.0.0.1:${port}`,
  async probe(url) {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: null, connectTimeout: 5_000 });
    // The failure reaches us through connect() too; without a listener it would be printed as well.
    /** @type {Error[]} */
    const causes = [];
    client.on('error', (error) => causes.push(error));
    try {
      await client.connect();
      await client.ping();
    } catch (error) {
      // connect() itself only says that the connection is closed.
      throw causes[0] ?? error;
    } finally {
      client.disconnect();
    }
  },
};
