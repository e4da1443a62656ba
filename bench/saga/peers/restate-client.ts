/** The load on Restate's ingress, in a process of its own; sends the result to its parent. */
import { measure } from '../../harness/load.ts';
import { order } from './peer.ts';

const [url = '', inFlight, durationMs, warmUpMs] = process.argv.slice(2);
const body = JSON.stringify(order);

const measured = await measure({
  url,
  path: '/orders/place',
  inFlight: Number(inFlight),
  durationMs: Number(durationMs),
  warmUpMs: Number(warmUpMs),
  body: () => body,
  check: (status, answer) => {
    if (status !== 200 || !answer.includes('"status":"committed"')) throw new Error(`${status} ${answer}`);
  },
});
process.send?.(measured);
process.disconnect();
