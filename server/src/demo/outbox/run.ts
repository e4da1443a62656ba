/**
 * The demo of the outbox: a shop that writes orders with their messages, a relay, and a billing that makes invoices, each a
 * process that is killed and started again while orders flow; at the end their databases are checked.
 *
 * Owns: the course of a run. Does not own: what the processes do (their own files), who is killed when (`kills.ts`), and what
 * must hold (`check.ts`).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { sqlRelayStore } from 'settle/relay';
import { stopSignal } from '../../shutdown.ts';
import type { Screen } from '../live-view.ts';
import { surprises } from '../surprises.ts';
import { checkOutbox } from './check.ts';
import { countIn, lastOrderIn, openFile, prepareFiles } from './databases.ts';
import { createKills, Killing, noKills } from './kills.ts';
import { showOutbox } from './live-table.ts';
import { startProcesses, type Processes } from './processes.ts';
import type { OutboxReport } from './report.ts';
import type { OutboxDefect } from './settings.ts';
import { addToTally, createOutboxTally } from './tally.ts';

export interface OutboxRunOptions {
  readonly dir: string;
  readonly seed: number;
  /** Undefined: until Ctrl-C. */
  readonly orders: number | undefined;
  /** Kills, lost answers, and deliveries turned away. */
  readonly faults: boolean;
  /** Milliseconds to wait at the end until the outbox is empty. */
  readonly settleMs: number;
  readonly defect: OutboxDefect | undefined;
  readonly screen: Screen;
}

const settlePollMs = 50;

export async function runOutbox(options: OutboxRunOptions): Promise<OutboxReport> {
  const { dir, seed, orders, faults, settleMs, defect, screen } = options;
  await prepareFiles(dir);
  const begun = stateOf(dir);
  const signal = stopSignal();
  const surprise = surprises();
  const tally = createOutboxTally();
  const allWritten = Promise.withResolvers<void>();
  const started = Promise.withResolvers<Processes>();
  const killing = new Killing({
    kills: faults ? createKills(seed, orders) : noKills,
    async kill(role) {
      if (signal.isAsked()) return;
      tally.kills[role]++;
      await (await started.promise).killAndRestart(role);
    },
    onSurprise: surprise.report,
  });
  await using processes = await startProcesses({
    dir,
    seed,
    lastOrder: orders === undefined ? undefined : begun.lastOrder + orders,
    faults,
    defect,
    onSurprise: surprise.report,
    onMessage(message) {
      addToTally(tally, message, begun.invoices);
      if (message.kind === 'all-written') allWritten.resolve();
      killing.hear({ written: tally.told.size + tally.rolledBack.size, effects: tally.effects });
    },
  });
  started.resolve(processes);
  screen.write(announcement(options));

  let phase = 'writing';
  const startedAtMs = performance.now();
  const live = showOutbox(screen, { tally, orders, phase: () => phase });
  const orSurprise = <T>(promise: Promise<T>): Promise<T> => Promise.race([surprise.raised, promise]);
  try {
    await orSurprise(Promise.race([allWritten.promise, signal.asked]));
    phase = 'delivering';
    // Of those that are due by now the writer may be one: whoever starts again would outlive the stop.
    await orSurprise(killing.settled());
    await processes.stopWriter();
    await orSurprise(untilEmpty(dir, settleMs));
    await orSurprise(killing.end());
    phase = 'checking';
    await processes.stop();
  } finally {
    live.stop();
    signal.release();
  }
  const seconds = (performance.now() - startedAtMs) / 1_000;
  const { told, rolledBack, ...counts } = tally;
  const check = checkOutbox(dir, told);
  return { ok: check.holds, seed, seconds, rolledBack: rolledBack.size, tally: counts, check, dir };
}

function announcement({ dir, seed, orders, faults }: OutboxRunOptions): string {
  const what = orders === undefined ? 'writing orders until Ctrl-C' : `writing ${orders} orders`;
  const how = faults ? ', while each process is killed (SIGKILL) and started again' : '';
  return (
    `a shop with an outbox, a relay, a billing with an inbox: three processes, two SQLite files in ${dir}, seed ${seed}\n` +
    `${what}${how}\n\n`
  );
}

/** What earlier runs in this folder have left. */
function stateOf(dir: string): { readonly lastOrder: number; readonly invoices: number } {
  const shop = openFile(dir, 'shop');
  const billing = openFile(dir, 'billing');
  const state = { lastOrder: lastOrderIn(shop.db), invoices: countIn(billing.db, 'invoices') };
  shop.db.close();
  billing.db.close();
  return state;
}

/** A bounded time; the check says what is still there after it. */
async function untilEmpty(dir: string, settleMs: number): Promise<void> {
  const { db, driver } = openFile(dir, 'shop');
  try {
    const store = sqlRelayStore(driver);
    const deadline = performance.now() + settleMs;
    while (performance.now() < deadline) {
      const { pending, delayed } = await store.stats();
      if (pending + delayed === 0) return;
      await sleep(settlePollMs);
    }
  } finally {
    db.close();
  }
}
