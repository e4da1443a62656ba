/** The billing as a process: makes an invoice of each message, once, in its own database. Started by the demo. */
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createConsumer, type ConsumerInbox } from 'settle/consumer';
import { webhookConsumer, type WebhookConsumer } from 'settle/consumer/http';
import { createInbox } from 'settle/inbox';
import { nodeHandler } from 'settle/participant/node';
import { createDice } from '../dice.ts';
import { countIn, openFile } from './databases.ts';
import { messages } from './orders.ts';
import { readSettings, tell, whenStopped } from './settings.ts';

const turnedAwayShare = 0.03;
const lostAnswerShare = 0.05;

const { dir, seed, port, secret, faults, defect } = readSettings();
const { db, tx } = openFile(dir, 'billing');
const inbox = createInbox(tx);
const { handle } = createConsumer({
  name: 'billing',
  inbox: defect === 'skip-inbox' ? forgetful(inbox) : inbox,
  messages,
  handlers: {
    'order.placed': ({ number, customer, nth, cents }, { tx: { client } }) =>
      void client
        .prepare('insert into invoices (number, customer, nth, cents) values (?, ?, ?, ?)')
        .run(number, customer, nth, cents),
  },
  onEvent(event) {
    if (event.kind !== 'handled') return;
    tell(event.duplicate ? { kind: 'duplicate' } : { kind: 'effects', count: countIn(db, 'invoices') });
  },
});
const webhook = webhookConsumer({ secrets: [secret], handle, retryAfterMs: 1_000 });
/** Only a first delivery is spoilt, so that every message arrives in the end. */
const delivered = new Set<string>();

const server = createServer((request, response) => {
  const fault = faultOf(String(request.headers['webhook-id']));
  if (fault === 'turned-away') {
    request.resume();
    response.writeHead(500).end();
    tell({ kind: fault });
    return;
  }
  nodeHandler(fault === 'lost-answer' ? thatHangsUp(request.socket) : webhook)(request, response);
});
whenStopped(async () => {
  await webhook.stop();
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
  db.close();
});
tell({ kind: 'effects', count: countIn(db, 'invoices') });
tell({ kind: 'ready', port: await listen(server) });

function faultOf(id: string): 'turned-away' | 'lost-answer' | undefined {
  if (!faults || delivered.has(id)) return undefined;
  delivered.add(id);
  const chance = createDice(seed, 'outbox-fault', id)();
  if (chance < turnedAwayShare) return 'turned-away';
  return chance < turnedAwayShare + lostAnswerShare ? 'lost-answer' : undefined;
}

/** Does everything, and is gone before it says so. */
function thatHangsUp(socket: Socket): WebhookConsumer {
  return Object.assign(async (request: Parameters<WebhookConsumer>[0]) => {
    const answer = await webhook(request);
    tell({ kind: 'lost-answer' });
    socket.destroy();
    return answer;
  }, webhook);
}

function forgetful<Context>(kept: ConsumerInbox<Context>): ConsumerInbox<Context> {
  return {
    dead: kept.dead,
    once: (consumer, _, work, options) => kept.once(consumer, randomUUID(), work, options),
  };
}

async function listen(listening: Server): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    listening.once('error', reject).listen(port, '127.0.0.1', resolve);
  });
  // A TCP server has one once it listens.
  return (listening.address() as AddressInfo).port;
}
