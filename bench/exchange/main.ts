/**
 * What an exchange costs above the bare client: POSTs of a small JSON body to one server in a process of its own, a
 * fixed number in flight, over undici's own `request`, its bare `dispatch`, and our two exchanges. Rates drift from
 * machine to machine; CPU per request and the ratio to bare `dispatch` within one run are what to look at.
 *
 *   npm run bench -- exchange [--seconds 3] [--rounds 3]
 */
import { parseArgs } from 'node:util';
import { nodeExchange, type PooledExchange } from 'settle/http';
import { undiciExchange } from 'settle-server/exchange';
import { Pool } from 'undici';
import { startModule } from '../harness/child.ts';
import { fixed, machine, table, whole } from '../harness/report.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '3' }, rounds: { type: 'string', default: '3' } },
});
const durationMs = Number(values.seconds) * 1_000;

interface Subject {
  readonly name: string;
  readonly post: () => Promise<void>;
  readonly close: () => Promise<void>;
}

interface Rate {
  readonly perSecond: number;
  readonly cpuUs: number;
}

const body = JSON.stringify({ order: 'o-1', sku: 'tea', quantity: 2, total: 1_234 });
const headers = {
  'content-type': 'application/json',
  'settle-gid': '0199d0a1b2c3d4e5f60718293a4b5c6d',
  'settle-branch': 'reserve',
  'settle-op': 'action',
  'settle-attempt': '1',
  'webhook-id': '0199d0a1b2c3d4e5f60718293a4b5c6d:reserve:action',
};

const server = await startModule(new URL('participant.ts', import.meta.url), []);
const subjects = [
  undiciRequest(server.url),
  undiciDispatch(server.url),
  ours('settle over undici', undiciExchange(), server.url),
  ours('settle over node:http', nodeExchange(), server.url),
];

console.log(machine());
const rows = [['', '1 in flight', '64 in flight', 'to dispatch', 'CPU us per request']];
// Alternating rounds, the best of each: what disturbs one round does not tilt the comparison.
const alone = await bestOf(1);
const many = await bestOf(64);
const reference = many[1]?.perSecond ?? 1;
subjects.forEach(({ name }, i) => {
  const rate = many[i] ?? { perSecond: 0, cpuUs: 0 };
  rows.push([
    name,
    whole(alone[i]?.perSecond ?? 0),
    whole(rate.perSecond),
    fixed(rate.perSecond / reference),
    fixed(rate.cpuUs, 1),
  ]);
});
console.log(table(rows));
await Promise.all(subjects.map((subject) => subject.close()));
await server.stop();

async function bestOf(inFlight: number): Promise<readonly Rate[]> {
  const best = subjects.map((): Rate => ({ perSecond: 0, cpuUs: Number.POSITIVE_INFINITY }));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [i, { post }] of subjects.entries()) {
      const rate = await measure(post, inFlight);
      if (rate.perSecond > (best[i]?.perSecond ?? 0)) best[i] = rate;
    }
  }
  return best;
}

async function measure(post: () => Promise<void>, inFlight: number): Promise<Rate> {
  const run = async (forMs: number): Promise<number> => {
    const endsAt = performance.now() + forMs;
    let count = 0;
    const loop = async (): Promise<void> => {
      while (performance.now() < endsAt) {
        await post();
        count++;
      }
    };
    await Promise.all(Array.from({ length: inFlight }, loop));
    return count;
  };
  await run(durationMs / 4);
  const cpu = process.cpuUsage();
  const count = await run(durationMs);
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: (count * 1_000) / durationMs, cpuUs: (user + system) / count };
}

function ours(name: string, exchange: PooledExchange, origin: string): Subject {
  const { signal } = new AbortController();
  const request = {
    origin,
    path: '/',
    method: 'POST',
    headers,
    body,
    timeoutMs: 5_000,
    maxResponseBytes: 65_536,
  } as const;
  return {
    name,
    post: async () => {
      const reply = await exchange(request, signal);
      if (reply.kind !== 'response') throw new Error(reply.detail);
    },
    close: () => exchange.close(),
  };
}

function undiciRequest(origin: string): Subject {
  const pool = new Pool(origin, { connections: 128 });
  return {
    name: 'undici request',
    post: async () => {
      const reply = await pool.request({ path: '/', method: 'POST', headers, body });
      await reply.body.text();
    },
    close: () => pool.close(),
  };
}

/** The least a client can do: no deadline, no limit, no check. */
function undiciDispatch(origin: string): Subject {
  const pool = new Pool(origin, { connections: 128 });
  return {
    name: 'undici dispatch',
    post: () =>
      new Promise((resolve, reject) => {
        let text = '';
        pool.dispatch(
          { path: '/', method: 'POST', headers, body },
          {
            onRequestStart: () => undefined,
            onResponseStart: () => undefined,
            onResponseData: (_controller, chunk) => {
              text += chunk.toString();
            },
            onResponseEnd: () => (text === '' ? reject(new Error('no body')) : resolve()),
            onResponseError: (_controller, error) => reject(error),
          },
        );
      }),
    close: () => pool.close(),
  };
}
