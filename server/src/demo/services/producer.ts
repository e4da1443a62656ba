/**
 * Invoice orders: the orders service as the producer of a two-phase message. It accepts the order in its own database
 * and tells stock and wallet if and only if that committed.
 */
import type { LocalTransactions, Settle } from 'settle';
import type { Json } from 'settle/core';
import type { Guard, HandlerRequest, HandlerResponse } from 'settle/participant';
import type { SqlQuery } from '../databases/service-database.ts';
import { messageOf } from '../../message-of.ts';
import { parseOrder } from './order-payload.ts';
import { acceptAtOnce } from './orders.ts';

export interface InvoicingOptions {
  readonly barrier: Guard<SqlQuery>;
  readonly coordinator: Settle;
  readonly ownUrl: () => string;
}

/** Milliseconds after which the coordinator asks what became of a message nobody submitted. */
const checkAfterMs = 1_000;

export function invoicing(options: InvoicingOptions): (request: HandlerRequest) => Promise<HandlerResponse> {
  return async (request) => {
    const { gid, dies, stockUrl, walletUrl, order } = readInvoice(String(request.body));
    try {
      await options.coordinator
        .message('invoice-order', { check: `${options.ownUrl()}/message/check`, checkAfterMs })
        .to('stock', { deliver: `${stockUrl}/message`, payload: order })
        .to('wallet', { deliver: `${walletUrl}/message`, payload: order })
        .withLocalTransaction(
          mortal(options.barrier, dies),
          (query) => acceptAtOnce(query, gid, parseOrder(order)),
          { gid },
        );
      return { status: 200, headers: {}, body: '' };
    } catch (error) {
      return { status: 500, headers: { 'content-type': 'text/plain' }, body: messageOf(error) };
    }
  };
}

type Dies = 'never' | 'before-commit' | 'after-commit';

/** Local transactions of a producer that goes away at the worst moment: nothing more comes from it for this message. */
function mortal(barrier: Guard<SqlQuery>, dies: Dies): LocalTransactions<SqlQuery> {
  if (dies === 'never') return barrier;
  return {
    async prepare(gid, work) {
      if (dies === 'after-commit') await barrier.prepare(gid, work);
      throw new ProducerDied(dies);
    },
  };
}

class ProducerDied extends Error {
  override readonly name = 'ProducerDied';

  constructor(when: string) {
    super(`the producer died ${when}`);
  }
}

interface Invoice {
  readonly gid: string;
  readonly dies: Dies;
  readonly stockUrl: string;
  readonly walletUrl: string;
  readonly order: Json;
}

function readInvoice(body: string): Invoice {
  // Written by the shop, in the same release.
  return JSON.parse(body) as Invoice;
}
