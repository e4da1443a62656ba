/** The relay as a process: takes messages out of the shop's outbox, and to the billing by HTTP. Started by the demo. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeExchange } from 'settle/http';
import { createRelay, sqlRelayStore } from 'settle/relay';
import { httpPublisher } from 'settle/relay/http';
import { openFile } from './databases.ts';
import { readSettings, tell, whenStopped } from './settings.ts';

const { dir, port, secret, defect } = readSettings();
const { db, driver } = openFile(dir, 'shop');
const exchange = nodeExchange();
const relay = createRelay({
  store: sqlRelayStore(driver),
  publishers: [
    httpPublisher({
      exchange,
      endpoints: { billing: { url: `http://127.0.0.1:${port}/`, secrets: [secret] } },
      timeoutMs: 2_000,
    }),
  ],
  ordering: defect === 'ignore-order' ? 'none' : 'per-key',
  // As patient as a demo can be watched. What is killed here is the relay itself, over and over: no message is to blame.
  limits: { leaseTtlMs: 1_500, pollMaxMs: 100, crashesMax: 1_000 },
  onEvent(event) {
    if (event.kind !== 'warning') return;
    // For whoever looks into a run that failed; there is no screen of its own.
    appendFileSync(join(dir, 'relay.log'), `${event.code}: ${event.error.stack ?? event.error.message}\n`);
  },
  retry: { baseMs: 50, maxMs: 500, attemptsMax: 100 },
});
whenStopped(async () => {
  await relay.stop();
  await exchange.close();
  db.close();
});
await relay.start();
tell({ kind: 'ready', port });
