/**
 * The random kill soak: transfers of all patterns under load while the coordinator is killed with SIGKILL at random
 * moments and started again; then everything settles, and the banks' ledgers are judged.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { debitLocally, openBanks, type Banks } from './bank.ts';
import { CoordinatorProcess } from './coordinator-process.ts';
import { judge, type Told, type Verdict } from './judge.ts';
import { seeded, type Draw } from './seeded.ts';

export interface SoakOptions {
  readonly seed: number;
  readonly kills: number;
  /** Clients, each with one transaction at a time. */
  readonly clients: number;
  /** Milliseconds from readiness to the next kill, at most. */
  readonly killWithinMs: number;
  /** Go on after the kills until this many were submitted. */
  readonly transactionsMin?: number;
  readonly onProgress?: (progress: { readonly kills: number; readonly transactions: number; readonly rssMb: number }) => void;
}

export interface SoakResult extends Verdict {
  readonly kills: number;
  readonly acknowledged: number;
  readonly byStatus: Readonly<Record<string, number>>;
}

const settleWithinMs = 60_000;

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const folder = mkdtempSync(join(tmpdir(), 'settle-soak-'));
  const faults = seeded(options.seed, 'faults');
  const banks = await openBanks(folder, { loseAnswer: () => faults() < 0.02 });
  const coordinator = await CoordinatorProcess.start(join(folder, 'settle.db'));
  const clients = new Clients(coordinator.url, banks);
  try {
    const running = Array.from({ length: options.clients }, (_, n) => clients.run(seeded(options.seed, `client-${n}`), n));
    await killAtRandom(coordinator, options, () => clients.told.size);
    while (clients.told.size < (options.transactionsMin ?? 0)) await sleep(50);
    clients.stop();
    await Promise.all(running);
    const statuses = await allSettled(coordinator.url);
    const verdict = judge(banks, clients.told, (gid) => statuses.get(gid));
    return { ...verdict, kills: options.kills, acknowledged: clients.acknowledged, byStatus: countBy(statuses.values()) };
  } finally {
    await clients.close();
    await coordinator.end('SIGKILL');
    await banks.close();
    rmSync(folder, { recursive: true });
  }
}

async function killAtRandom(coordinator: CoordinatorProcess, options: SoakOptions, transactions: () => number): Promise<void> {
  const draw = seeded(options.seed, 'kills');
  for (let kills = 1; kills <= options.kills; kills++) {
    await sleep(draw() * options.killWithinMs);
    await coordinator.end('SIGKILL');
    await coordinator.start();
    options.onProgress?.({ kills, transactions: transactions(), rssMb: Math.round(process.memoryUsage.rss() / 1_048_576) });
  }
}

class Clients {
  readonly told = new Map<string, Told>();
  acknowledged = 0;
  readonly #pool: Pool;
  readonly #banks: Banks;
  #stopped = false;

  constructor(url: string, banks: Banks) {
    this.#pool = new Pool(url, { connections: 256 });
    this.#banks = banks;
  }

  stop(): void {
    this.#stopped = true;
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  async run(draw: Draw, client: number): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      const gid = `${client}-${String(n).padStart(8, '0')}`;
      const amount = 1 + Math.floor(draw() * 100);
      const payload = draw() < 0.1 ? { amount, refuse: true } : { amount };
      const pattern = draw();
      this.told.set(gid, { amount, answer: 'unknown' });
      if (pattern < 0.5) await this.#submit(gid, this.#saga(payload), amount);
      else if (pattern < 0.8) await this.#submit(gid, this.#tcc(payload), amount);
      else await this.#message(gid, amount, draw);
    }
  }

  #saga(payload: object): object {
    const { url } = this.#banks;
    const step = (name: string): object => ({
      name,
      action: { url: `${url}/${name}`, payload },
      compensation: { url: `${url}/${name}` },
    });
    return { pattern: 'saga', name: 'transfer', steps: [step('payer'), step('payee')] };
  }

  #tcc(payload: object): object {
    const { url } = this.#banks;
    const branch = (name: string): object => {
      const call = { url: `${url}/${name}`, payload };
      return { name, try: call, confirm: call, cancel: call };
    };
    return { pattern: 'tcc', name: 'transfer', decide: 'when-all-tried', branches: [branch('payer'), branch('payee')] };
  }

  /** Sometimes the producer dies between its local transaction and the submit: then the check-back decides. */
  async #message(gid: string, amount: number, draw: Draw): Promise<void> {
    const { url, payer } = this.#banks;
    const deliver = { name: 'payee', deliver: { url: `${url}/payee`, payload: { amount } } };
    const definition = { pattern: 'message', name: 'transfer', check: { url: `${url}/payer` }, checkAfterMs: 500, targets: [deliver] };
    if (!(await this.#submit(gid, definition, amount, 0))) return;
    if (draw() < 0.1) return;
    // After a check-back that came first, the barrier refuses the local transaction.
    const debited = await debitLocally(payer, gid, amount).then(
      () => true,
      () => false,
    );
    if (debited && draw() >= 0.1) await this.#post(`/v1/transactions/${gid}/commit`, { waitMs: 0 });
  }

  /** Asks with the same gid until it is acknowledged, as a client that wants to know does. */
  async #submit(gid: string, definition: object, amount: number, waitMs = 2_000): Promise<boolean> {
    while (!this.#stopped) {
      const status = await this.#post('/v1/transactions', { gid, waitMs, ...definition });
      if (status === undefined) {
        await sleep(20);
        continue;
      }
      this.acknowledged++;
      this.told.set(gid, { amount, answer: status === 'committed' || status === 'aborted' ? status : 'accepted' });
      return true;
    }
    return false;
  }

  /** The status that a 2xx answer tells; undefined for anything else. */
  async #post(path: string, body: object): Promise<string | undefined> {
    try {
      const headers = { 'content-type': 'application/json' };
      const answer = await this.#pool.request({ path, method: 'POST', headers, body: JSON.stringify(body) });
      const text = await answer.body.text();
      if (answer.statusCode === 200 || answer.statusCode === 202) return (JSON.parse(text) as { status: string }).status;
      // 4xx is a defect of the test, except where the transaction moved on without us.
      if (answer.statusCode < 500 && answer.statusCode !== 409) throw new Error(`${path}: ${answer.statusCode} ${text}`);
      return undefined;
    } catch (error) {
      if (error instanceof Error && error.message.startsWith(path)) throw error;
      return undefined;
    }
  }
}

/** The status of every transaction, once none is open any more. */
async function allSettled(url: string): Promise<ReadonlyMap<string, string>> {
  const untilMs = performance.now() + settleWithinMs;
  for (;;) {
    const statuses = await list(url);
    const open = [...statuses].filter(([, status]) => status !== 'committed' && status !== 'aborted');
    if (open.length === 0) return statuses;
    if (performance.now() > untilMs) throw new Error(`still open after ${settleWithinMs} ms: ${JSON.stringify(open.slice(0, 5))}`);
    await sleep(200);
  }
}

async function list(url: string): Promise<ReadonlyMap<string, string>> {
  const statuses = new Map<string, string>();
  let cursor: string | undefined;
  do {
    const more = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const response = await fetch(`${url}/v1/transactions?limit=200${more}`);
    const page = (await response.json()) as { items: { gid: string; status: string }[]; next?: string };
    for (const { gid, status } of page.items) statuses.set(gid, status);
    cursor = page.next;
  } while (cursor !== undefined);
  return statuses;
}

function countBy(values: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
