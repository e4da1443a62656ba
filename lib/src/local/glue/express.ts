/** `settle/local/express`: a transaction for each request of Express 4 and 5, and of what else calls `(req, res, next)`. */
import type { Transactions } from '../transactions.ts';
import { HeldResponse, type HoldableResponse } from './held-response.ts';
import {
  clientGone,
  RequestTransaction,
  scopeOf,
  type ClosableResponse,
  type RequestOptions,
} from './request-transaction.ts';

export interface ExpressTransactionOptions extends RequestOptions {
  /**
   * Bytes of a body that is written piece by piece, as they are kept until the COMMIT; a body that comes with `end`,
   * `send` or `json` may be of any size. Beyond that the transaction is rolled back and the connection closed, with
   * `limit_exceeded`. Default: 1,048,576.
   */
  readonly heldBytesMax?: number;
}

export const heldBytesMaxDefault = 1_048_576;

/** What goes on to the next middleware; with an error, to the error handlers. */
export type Next = (error?: unknown) => void;

/**
 * A middleware: what comes after it runs in a transaction, `app.use('/orders', expressTransaction(tx))`.
 *
 * The answer is kept back until it is ended. When its status is below 400, the transaction is committed first and the
 * answer leaves then; with every other status it is rolled back. When it cannot be committed, the answer is dropped, and
 * the error handlers of the app are given the error: they answer outside of the transaction, 500 by default. When the
 * client goes away before, it is rolled back.
 *
 * Guarantees: no client has an answer that commits before the COMMIT. Does not cover what happens after the answer was
 * ended: that is refused, with `scope_ended`. A route that streams to its client cannot be behind it: `flushHeaders`
 * throws `config_invalid`. Mount it after whatever reads the request's body.
 */
export function expressTransaction(
  tx: Transactions<unknown>,
  options: ExpressTransactionOptions = {},
): (request: ExpressRequest, response: ExpressResponse, next: Next) => void {
  const { heldBytesMax: bytesMax = heldBytesMaxDefault, ...requestOptions } = options;
  return (request, response, next) => {
    const { method = 'GET', originalUrl = request.url ?? '/' } = request;
    const label = `${method} ${originalUrl.replace(/\?.*/s, '')}`;
    const signal = clientGone(response);
    const transaction = new RequestTransaction(requestOptions, signal);
    // Whatever happens after the end, error handlers and listeners of the response, happens outside of it.
    const fail = (error: unknown): void => tx.exit(() => next(error));
    const answer = async (status: number): Promise<void> => {
      try {
        await transaction.end(status);
        tx.exit(() => held.release());
      } catch (error) {
        held.discard();
        fail(error);
      }
    };
    const onEnd = (status: number): void => void answer(status);
    const held = new HeldResponse(response, { label, bytesMax, onEnd, onOverflow: fail });
    remember(response, transaction);
    transaction.begin(tx, scopeOf(requestOptions, label, signal), (error) => {
      if (error !== undefined) held.discard();
      next(error);
    });
  };
}

/**
 * An error middleware for apps whose error handlers answer with a status that commits, such as a redirect:
 * `app.use(expressRollback)` between the routes and those handlers. It makes the request's transactions roll back, and
 * passes the error on.
 */
export function expressRollback(error: unknown, _request: unknown, response: object, next: Next): void {
  for (const transaction of transactionsOf.get(response) ?? []) transaction.fail(error);
  next(error);
}

/** Of one response, each by a middleware of its own. */
const transactionsOf = new WeakMap<object, RequestTransaction[]>();

function remember(response: object, transaction: RequestTransaction): void {
  transactionsOf.set(response, [...(transactionsOf.get(response) ?? []), transaction]);
}

/** A request of Express, or of node:http, as far as it matters here. */
export interface ExpressRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly originalUrl?: string;
}

/** A response of Express, or of node:http, as far as it matters here. */
export interface ExpressResponse extends HoldableResponse, ClosableResponse {}
