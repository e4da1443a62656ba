/** The load on Restate's ingress, in a process of its own; sends the result to its parent. */
import { answer } from '../../harness/child.ts';
import { measure } from '../../harness/load.ts';
import { order } from './peer.ts';

const [url = '', inFlight, durationMs, warmUpMs] = process.argv.slice(2);
const body = JSON.stringify(order);

const measuring = measure({
  url,
  path: '/orders/place',
  inFlight: Number(inFlight),
  durationMs: Number(durationMs),
  warmUpMs: Number(warmUpMs),
  body: () => body,
  check: (status, text) => {
    if (status !== 200 || !text.includes('"status":"committed"')) throw new Error(`${status} ${text}`);
  },
});
await answer(measuring);
