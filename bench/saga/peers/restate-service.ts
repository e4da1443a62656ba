/**
 * The handler Restate drives, in a process of its own: two durable steps, each one HTTP call.
 *
 *   node restate-service.ts <packages> <participants>
 */
import { createServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ready } from '../../harness/child.ts';
import { poster } from '../../harness/post.ts';
import { steps } from './peer.ts';

/** What is used of @restatedev/restate-sdk, which is not installed in this workspace. */
interface RestateSdk {
  service(definition: {
    readonly name: string;
    readonly handlers: Readonly<Record<string, (context: Context, input: unknown) => Promise<unknown>>>;
    readonly options: { readonly journalRetention: number };
  }): unknown;
  createEndpointHandler(options: {
    readonly services: readonly unknown[];
  }): (request: Http2ServerRequest, response: Http2ServerResponse) => void;
}

interface Context {
  run(name: string, action: () => Promise<unknown>): Promise<unknown>;
}

const [packages = '', participants = ''] = process.argv.slice(2);
// It writes a line for every call otherwise; read when the module loads.
process.env['RESTATE_LOGGING'] = 'ERROR';
const restate = createRequire(join(packages, 'package.json'))('@restatedev/restate-sdk') as RestateSdk;
const post = poster(participants);

const orders = restate.service({
  name: 'orders',
  handlers: {
    place: async (context, order) => {
      for (const step of steps) await context.run(step, () => post(`/plain/${step}`, order));
      return { status: 'committed' };
    },
  },
  options: { journalRetention: 0 },
});

const server = createServer(restate.createEndpointHandler({ services: [orders] }));
server.listen(0, '127.0.0.1', () => ready(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
