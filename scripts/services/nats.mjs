import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';

/** @type {import('./services.mjs').Service} */
export const nats = {
  name: 'NATS',
  variable: 'SETTLE_TEST_NATS',
  exampleUrl: 'nats://127.0.0.1:4222',
  binaries: ['nats-server'],
  folders: () => ['/usr/sbin'],
  packages: ['nats-server'],
  user: 'nats',
  files: ({ folder }) => ({
    'nats.conf': [
      'host: 127.0.0.1',
      `jetstream { store_dir: ${JSON.stringify(join(folder, 'data'))}, max_mem: 64MB, max_file: 1GB }`,
    ],
  }),
  prepare: () => undefined,
  serve: ({ folder, programs, port }) => [
    programs['nats-server'],
    ['--config', join(folder, 'nats.conf'), '--port', String(port)],
  ],
  stopSignal: 'SIGKILL',
  image: { name: 'nats:2', port: 4222, options: () => [], args: ['--jetstream'] },
  url: (port) => `nats://127.0.0.1:${port}`,
  async probe(url) {
    const connection = await connect({ servers: url, timeout: 5_000, reconnect: false });
    try {
      // Fails where the server has no JetStream.
      await jetstreamManager(connection, { timeout: 5_000 });
    } finally {
      await connection.close();
    }
  },
};
