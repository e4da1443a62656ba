/**
 * The shop front: places the orders of the stream, a bounded number at a time, and notes how each one ended.
 *
 * Owns: which pattern carries an order, what is retried by the customer's side, what customers are told.
 * Does not own: faults (the services and chaos.ts), whether it all adds up (check.ts).
 *
 * - F1 Every order has its gid before anything is sent; a lost answer is asked for again with the same gid.
 * - F2 A customer is told `placed` only for a committed transaction, `rejected` only for an aborted one.
 * - F3 A transaction that was once acknowledged and then is not known any more is lost, and reported.
 */
import { isSettleError } from 'settle/core';
import { from, type Settle, type TransactionOutcome } from 'settle';
import type { Told } from './check.ts';
import type { ServiceName } from './service-names.ts';
import { orderAt, type Order } from './order-stream.ts';
import type { Tally } from './tally.ts';
import type { World } from './world.ts';

export interface ShopOptions {
  readonly settle: Settle;
  readonly urls: Readonly<Record<ServiceName, string>>;
  readonly world: World;
  readonly seed: number;
  /** Begins every gid, so that two runs on the same databases do not meet. */
  readonly run: string;
  /** undefined: until `stop`. */
  readonly orders: number | undefined;
  readonly concurrency: number;
  readonly tally: Tally;
  /** Called before each order is placed. */
  readonly before: (sequence: number) => void;
}

export interface Shop {
  /** Resolves when the last order has ended, or its time was over. Rejects with what nobody foresaw. */
  readonly closed: Promise<void>;
  /** Resolves when it takes no more orders. */
  readonly taken: Promise<void>;
  readonly told: () => Iterable<Told>;
  readonly lost: readonly string[];
  /** Takes no more orders; those under way go on. */
  stop(): void;
  /** Waits no longer for those under way. */
  giveUp(): void;
}

/** Milliseconds the shop waits in one request for the end of an order. */
const waitMs = 5_000;
/** Milliseconds between two questions to a coordinator that does not answer. */
const pauseMs = 100;
/** Milliseconds after which an abandoned TCC is cancelled, and an abandoned message asked for. */
const tccTimeoutMs = 5_000;

export function openShop(options: ShopOptions): Shop {
  const shop = new TheShop(options);
  return {
    closed: shop.run(),
    taken: shop.taken,
    told: () => shop.told(),
    lost: shop.lost,
    stop: () => shop.stop(),
    giveUp: () => shop.giveUp(),
  };
}

/** How far the shop knows an order. */
type End = 'committed' | 'aborted' | 'absent' | 'given-up';

class TheShop {
  readonly lost: string[] = [];
  readonly #options: ShopOptions;
  readonly #told = new Map<string, Told['answer']>();
  readonly #patience = new AbortController();
  #next = 1;
  #open = true;
  readonly taken: Promise<void>;
  readonly #allTaken: () => void;

  constructor(options: ShopOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.taken = promise;
    this.#allTaken = resolve;
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: this.#options.concurrency }, () => this.#serve()));
  }

  stop(): void {
    this.#open = false;
  }

  giveUp(): void {
    this.#open = false;
    this.#patience.abort();
  }

  *told(): Generator<Told> {
    for (const [orderId, answer] of this.#told) yield { orderId, answer };
  }

  /** One of the tills: an order after the other. */
  async #serve(): Promise<void> {
    const { orders = Infinity, before, world, seed, tally } = this.#options;
    while (this.#open && this.#next <= orders) {
      const sequence = this.#next++;
      before(sequence);
      const order = orderAt(world, seed, sequence);
      const counts = tally.patterns[order.how.pattern];
      counts.submitted++;
      const end = await this.#place(order);
      if (end === 'committed') counts.committed++;
      if (end === 'aborted') counts.aborted++;
      if (end === 'absent') counts.neverBegan++;
    }
    this.#allTaken();
  }

  async #place(order: Order): Promise<End> {
    const gid = `${this.#options.run}-${order.sequence}`;
    const acknowledged = await this.#begin(gid, order);
    const end = await this.#endOf(gid);
    // F2
    if (end === 'committed') this.#told.set(gid, 'placed');
    if (end === 'aborted') this.#told.set(gid, 'rejected');
    // F3
    if (end === 'absent' && acknowledged) this.lost.push(gid);
    return end;
  }

  /** Whether the coordinator said that it has it. */
  async #begin(gid: string, order: Order): Promise<boolean> {
    switch (order.how.pattern) {
      case 'saga':
        return this.#beginSaga(gid, order);
      case 'tcc':
        return this.#beginTcc(gid, order, order.how.changesMind);
      case 'message':
        return this.#askProducer(gid, order, order.how.dies);
    }
  }

  /** create first, then goods and money side by side; once both are taken, the order only goes forward. */
  async #beginSaga(gid: string, order: Order): Promise<boolean> {
    const { settle, urls } = this.#options;
    const payload = payloadOf(order);
    const saga = settle
      .saga('place-order')
      .step('create', {
        action: `${urls.orders}/saga/create`,
        compensate: `${urls.orders}/saga/create`,
        payload,
      })
      .step('reserve', {
        action: `${urls.stock}/saga`,
        compensate: `${urls.stock}/saga`,
        payload,
        after: ['create'],
      })
      .step('charge', {
        action: `${urls.wallet}/saga`,
        compensate: `${urls.wallet}/saga`,
        payload: { ...payload, reference: from('create', 'number') },
        after: ['create'],
      })
      .step('accept', {
        action: `${urls.orders}/saga/accept`,
        payload,
        after: ['reserve', 'charge'],
        pivot: true,
      });
    return this.#insist(() => saga.submit({ gid, waitMs, signal: this.#patience.signal }));
  }

  /** All three are tried at once. Should the shop not get through with its decision, the deadline decides. */
  async #beginTcc(gid: string, order: Order, changesMind: boolean): Promise<boolean> {
    const { settle, urls } = this.#options;
    const payload = payloadOf(order);
    const branch = (service: ServiceName) => {
      const url = `${urls[service]}/tcc`;
      return { try: url, confirm: url, cancel: url, payload };
    };
    let begun = false;
    try {
      await settle.tcc(
        'place-order-tcc',
        async (tx) => {
          begun = true;
          await Promise.all(
            (['orders', 'stock', 'wallet'] as const).map((name) => tx.branch(name, branch(name))),
          );
          if (changesMind) throw new ChangedMind();
        },
        { gid, timeoutMs: tccTimeoutMs, waitMs, signal: this.#patience.signal },
      );
    } catch (error) {
      if (!isChangedMind(error) && !isPassing(error, this.#patience.signal)) throw error;
    }
    return begun;
  }

  /** The orders service sends the message: it accepts the order in the same local transaction. */
  async #askProducer(gid: string, order: Order, dies: string): Promise<boolean> {
    const { urls } = this.#options;
    try {
      const response = await fetch(`${urls.orders}/invoice`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          gid,
          dies,
          stockUrl: urls.stock,
          walletUrl: urls.wallet,
          order: payloadOf(order),
        }),
        signal: AbortSignal.any([this.#patience.signal, AbortSignal.timeout(waitMs)]),
      });
      await response.arrayBuffer();
      return response.ok;
    } catch {
      // The producer was killed, or killed itself. Who has the gid can ask.
      return false;
    }
  }

  /** F1 */
  async #insist(submit: () => Promise<TransactionOutcome>): Promise<boolean> {
    for (;;) {
      try {
        await submit();
        return true;
      } catch (error) {
        if (!isPassing(error, this.#patience.signal)) throw error;
        if (this.#patience.signal.aborted) return false;
        await pause();
      }
    }
  }

  async #endOf(gid: string): Promise<End> {
    const { signal } = this.#patience;
    while (!signal.aborted) {
      try {
        const { status } = await this.#options.settle.get(gid, { waitMs, signal });
        if (status === 'committed' || status === 'aborted') return status;
      } catch (error) {
        if (isSettleError(error) && error.code === 'transaction_not_found') return 'absent';
        if (!isPassing(error, signal)) throw error;
        await pause();
      }
    }
    return 'given-up';
  }
}

class ChangedMind extends Error {
  override readonly name = 'ChangedMind';
}

/** Also when the abort that followed failed too: then the deadline will cancel. */
function isChangedMind(error: unknown): boolean {
  return (
    error instanceof ChangedMind || (error instanceof AggregateError && error.errors.some(isChangedMind))
  );
}

/** What asking again, or looking at the transaction, gets over; everything else is a defect and ends the demo. */
function isPassing(error: unknown, signal: AbortSignal): boolean {
  if (signal.aborted) return true;
  if (error instanceof AggregateError)
    return error.errors.every((each) => isPassing(each, signal) || isChangedMind(each));
  if (!isSettleError(error)) return false;
  switch (error.code) {
    case 'unavailable':
    case 'overloaded':
    case 'shutting_down':
    case 'lease_lost':
    // The deadline was quicker than the shop.
    case 'illegal_action':
      return true;
    default:
      return false;
  }
}

function payloadOf(order: Order) {
  const { customer, lines, totalCents, how } = order;
  return {
    pattern: how.pattern,
    customer,
    lines: lines.map(({ sku, quantity }) => ({ sku, quantity })),
    totalCents,
  };
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, pauseMs);
  });
}
