/** The shop as a process: writes each order and the message that tells of it in one transaction. Started by the demo. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createOutbox } from 'settle/outbox';
import { createDice } from '../dice.ts';
import { lastOrderIn, openFile } from './databases.ts';
import { messages, orderOf, type Order } from './orders.ts';
import { readSettings, tell, whenStopped } from './settings.ts';

/** Milliseconds between two orders, at most: slow enough that kills come in between. */
const pauseMsMax = 12;
/** Messages that wait at most: a run without an end would never get rid of them, since those who are killed are slower. */
const waitingMax = 100;
const crowdedMs = 20;

const { dir, seed, lastOrder = Number.POSITIVE_INFINITY, defect } = readSettings();
const { db, tx } = openFile(dir, 'shop');
const outbox = createOutbox(tx, messages);
const dice = createDice(seed, 'outbox-pace');

class ThoughtBetterOfIt extends Error {}

let isStopping = false;
let working: Promise<void> = Promise.resolve();
whenStopped(async () => {
  isStopping = true;
  await working;
  db.close();
});
tell({ kind: 'ready', port: 0 });
working = work();

async function work(): Promise<void> {
  // What the one before me has committed is done; where it was killed, nothing of its order is there.
  let number = lastOrderIn(db) + 1;
  while (number <= lastOrder && !isStopping) {
    if (isCrowded()) {
      await sleep(crowdedMs);
      continue;
    }
    tell(await place(orderOf(seed, number)));
    number++;
    await sleep(dice() * pauseMsMax);
  }
  tell({ kind: 'all-written' });
}

function isCrowded(): boolean {
  return db.prepare('select 1 from settle_outbox limit 1 offset ?').get(waitingMax) !== undefined;
}

async function place({ isRefused, ...order }: Order) {
  const { number, customer, cents } = order;
  const nth =
    Number(db.prepare('select count(*) as n from orders where customer = ?').get(customer)?.['n']) + 1;
  const send = () =>
    outbox.send('order.placed', { ...order, nth }, { id: `order-${number}`, outsideTransaction: 'begin' });
  try {
    if (defect === 'dual-write') await send();
    await tx.run(async ({ client }) => {
      client.prepare('insert into orders values (?, ?, ?, ?)').run(number, customer, nth, cents);
      if (defect !== 'dual-write') await send();
      if (isRefused) throw new ThoughtBetterOfIt();
    });
    return { kind: 'committed', order: number } as const;
  } catch (error) {
    if (error instanceof ThoughtBetterOfIt) return { kind: 'rolled-back', order: number } as const;
    throw error;
  }
}
