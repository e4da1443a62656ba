/** The load, in a process of its own: measures one coordinator and sends the result to its parent. */
import { randomBytes } from 'node:crypto';
import { answer } from '../harness/child.ts';
import { measure } from '../harness/load.ts';

const [
  url = '',
  participants = '',
  kind = 'stored',
  inFlight = '64',
  durationMs = '8000',
  warmUpMs = '2500',
] = process.argv.slice(2);

const run = randomBytes(6).toString('hex');
const step = (name: string): object => ({
  name,
  action: { url: `${participants}/${kind}/${name}`, payload: { order: 4711, sku: 'A-1001', quantity: 2 } },
  compensation: { url: `${participants}/${kind}/undo-${name}` },
});
const rest = JSON.stringify({
  pattern: 'saga',
  name: 'bench',
  waitMs: 30_000,
  steps: [step('reserve'), step('charge')],
});

const measuring = measure({
  url,
  path: '/v1/transactions',
  inFlight: Number(inFlight),
  durationMs: Number(durationMs),
  warmUpMs: Number(warmUpMs),
  // Sortable by time, as our own gids are, for the reference as well as for us.
  body: (n) => `{"gid":"${run}-${String(n).padStart(10, '0')}",${rest.slice(1)}`,
  check: (status, body) => {
    if (status !== 200 || !body.includes('"status":"committed"')) throw new Error(`${status} ${body}`);
  },
});
await answer(measuring);
