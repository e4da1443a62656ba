/**
 * Clients that transfer money from one bank to the other by every pattern, refusals included, and that keep what they
 * were told: what the judge holds the coordinator to.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { debitLocally, type Banks } from './bank.ts';
import type { Told } from './judge.ts';
import { seeded, type Draw } from './seeded.ts';

export interface WorkloadOptions {
  /** Of the coordinator. */
  readonly url: string;
  readonly banks: Banks;
  /** Where the coordinator reaches the banks. Default: directly. */
  readonly banksUrl?: string;
  readonly seed: number;
  /** How many, each with one transaction at a time. */
  readonly clients: number;
  /** Milliseconds that a message waits for its producer before it is checked back. Default 500. */
  readonly checkAfterMs?: number;
  /** Of the messages, the share whose producer dies before it tells the coordinator. Default 0.2. */
  readonly producersDie?: number;
  /** Milliseconds that the local transaction of a slow producer takes. Default 50. */
  readonly slowMs?: number;
  /** Milliseconds that an answer may take. Default 5,000. */
  readonly answerWithinMs?: number;
}

/** Long enough that the coordinator lets go of a message meanwhile, and adopts it when its producer speaks. */
const longCheckMs = 20_000;

export class Workload {
  readonly told = new Map<string, Told>();
  acknowledged = 0;
  readonly #options: WorkloadOptions;
  readonly #pool: Pool;
  readonly #running: readonly Promise<void>[];
  #phase: 'running' | 'finishing' | 'closed' = 'running';

  /** The clients start at once. */
  constructor(options: WorkloadOptions) {
    const { url, clients, seed, answerWithinMs = 5_000 } = options;
    this.#options = options;
    this.#pool = new Pool(url, {
      connections: 256,
      connect: { timeout: Math.min(answerWithinMs, 1_000) },
      headersTimeout: answerWithinMs,
      bodyTimeout: answerWithinMs,
    });
    this.#running = Array.from({ length: clients }, (_, n) => this.#run(seeded(seed, `client-${n}`), n));
    // What goes wrong is told by `finish`.
    for (const client of this.#running) client.catch(() => undefined);
  }

  /** No new transactions; resolves when each client has an answer to what it asked last. */
  async finish(): Promise<void> {
    if (this.#phase === 'running') this.#phase = 'finishing';
    await Promise.all(this.#running);
  }

  async close(): Promise<void> {
    this.#phase = 'closed';
    await this.#pool.destroy();
    await Promise.allSettled(this.#running);
  }

  async #run(draw: Draw, client: number): Promise<void> {
    for (let n = 0; this.#phase === 'running'; n++) {
      const gid = `${client}-${String(n).padStart(8, '0')}`;
      const amount = 1 + Math.floor(draw() * 100);
      this.told.set(gid, { amount, answer: 'unknown' });
      await this.#transfer(gid, amount, draw);
      if (draw() < 0.05) await this.#ask('GET', `/v1/transactions/${gid}`);
    }
  }

  #transfer(gid: string, amount: number, draw: Draw): Promise<unknown> {
    const payload = draw() < 0.1 ? { amount, refuse: true } : { amount };
    // Half of the participants keep their answers and do not say so: each answer is then written before the next call.
    const url = `${this.#options.banksUrl ?? this.#options.banks.url}${draw() < 0.5 ? '' : '/plain'}`;
    const pattern = draw();
    if (pattern < 0.4) return this.#submit(gid, saga(url, payload));
    if (pattern < 0.6) return this.#submit(gid, tcc(url, payload));
    if (pattern < 0.75) return this.#initiate(gid, url, payload, draw);
    return this.#message(gid, url, amount, draw);
  }

  /** TCC whose branches are registered one after the other, and which its initiator decides. */
  async #initiate(gid: string, url: string, payload: object, draw: Draw): Promise<void> {
    const begin = { pattern: 'tcc', name: 'transfer', decide: 'initiator', timeoutMs: 2_000 };
    if ((await this.#submit(gid, begin, 0)) === undefined) return;
    for (const name of ['payer', 'payee']) {
      const body = { branches: [branch(url, name, payload)], waitMs: 1_000 };
      const status = await this.#untilAnswered(`/v1/transactions/${gid}/branches`, body);
      if (status !== 'trying' || draw() < 0.03) return;
    }
    const abort = draw() < 0.2;
    const decision = abort ? { reason: 'the customer left', waitMs: 1_000 } : { waitMs: 1_000 };
    this.#hear(
      gid,
      await this.#untilAnswered(`/v1/transactions/${gid}/${abort ? 'abort' : 'commit'}`, decision),
    );
  }

  /** Sometimes the producer dies between its local transaction and the submit: then the check-back decides. */
  async #message(gid: string, url: string, amount: number, draw: Draw): Promise<void> {
    const { banks, checkAfterMs = 500, producersDie = 0.2, slowMs = 50 } = this.#options;
    const dies = draw() < producersDie;
    const isSlow = !dies && draw() < 0.3;
    const definition = {
      pattern: 'message',
      name: 'transfer',
      check: { url: `${url}/payer` },
      checkAfterMs: isSlow ? longCheckMs : checkAfterMs,
      targets: [{ name: 'payee', deliver: { url: `${url}/payee`, payload: { amount } } }],
    };
    if ((await this.#submit(gid, definition, 0)) === undefined) return;
    if (dies && draw() < 0.5) return;
    if (isSlow) await sleep(slowMs);
    // After a check-back that came first, the barrier refuses the local transaction.
    const debited = await debitLocally(banks.payer, gid, amount).then(
      () => true,
      () => false,
    );
    if (debited && !dies) await this.#untilAnswered(`/v1/transactions/${gid}/commit`, { waitMs: 0 });
  }

  async #submit(gid: string, definition: object, waitMs = 2_000): Promise<string | undefined> {
    const status = await this.#untilAnswered('/v1/transactions', { gid, waitMs, ...definition });
    if (status !== undefined) this.acknowledged++;
    this.#hear(gid, status);
    return status;
  }

  #hear(gid: string, status: string | undefined): void {
    const told = this.told.get(gid);
    if (status === undefined || told === undefined) return;
    this.told.set(gid, {
      ...told,
      answer: status === 'committed' || status === 'aborted' ? status : 'accepted',
    });
  }

  /** Asks the same again and again until there is an answer, as a client that wants to know does. */
  async #untilAnswered(path: string, body: object): Promise<string | undefined> {
    while (this.#phase !== 'closed') {
      const answer = await this.#ask('POST', path, body);
      if (answer.kind !== 'unknown') return answer.kind === 'status' ? answer.status : undefined;
      await sleep(20);
    }
    return undefined;
  }

  async #ask(method: 'GET' | 'POST', path: string, body?: object): Promise<Answer> {
    let status: number;
    let text: string;
    try {
      const headers = { 'content-type': 'application/json' };
      const request = {
        path,
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      };
      const answer = await this.#pool.request(request);
      status = answer.statusCode;
      text = await answer.body.text();
    } catch {
      return { kind: 'unknown' };
    }
    if (status === 200 || status === 202)
      return { kind: 'status', status: (JSON.parse(text) as { status: string }).status };
    // The transaction moved on without us.
    if (status === 409 && path !== '/v1/transactions') return { kind: 'refused' };
    // It had ended, aborted by its check-back, and was pruned.
    if (status === 404 && path !== '/v1/transactions') return { kind: 'refused' };
    if (status < 500) throw new Error(`${path}: ${status} ${text}`);
    return { kind: 'unknown' };
  }
}

type Answer =
  | { readonly kind: 'status'; readonly status: string }
  | { readonly kind: 'refused' }
  | { readonly kind: 'unknown' };

function saga(url: string, payload: object): object {
  const step = (name: string): object => ({
    name,
    action: { url: `${url}/${name}`, payload },
    compensation: { url: `${url}/${name}` },
  });
  return { pattern: 'saga', name: 'transfer', steps: [step('payer'), step('payee')] };
}

function tcc(url: string, payload: object): object {
  const branches = [branch(url, 'payer', payload), branch(url, 'payee', payload)];
  return { pattern: 'tcc', name: 'transfer', decide: 'when-all-tried', branches };
}

function branch(url: string, name: string, payload: object): object {
  const call = { url: `${url}/${name}`, payload };
  return { name, try: call, confirm: call, cancel: call };
}
