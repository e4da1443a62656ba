import { SettleError } from '../../util/errors.ts';
import type { Transactions } from '../transactions.ts';
import {
  clientGone,
  commitOnDefault,
  Declined,
  scopeOf,
  type ClosableResponse,
  type RequestOptions,
} from './request-transaction.ts';

/** Values of an observable that a handler gave back. All of them are kept until the COMMIT. */
export const valuesMax = 10_000;

/**
 * Runs what comes after it, other interceptors, pipes and the handler, in a transaction:
 * `@UseInterceptors(new TransactionInterceptor(tx))`, or a provider of `APP_INTERCEPTOR`.
 *
 * The transaction is committed before Nest sends the answer when nothing was thrown and the status is below 400; otherwise it
 * is rolled back. When it cannot be committed, the error goes to the exception filters: 500 by default. When the client
 * goes away before, it is rolled back. Guards and exception filters run outside of it.
 *
 * Throws `config_invalid`, and rolls back, when a handler has sent its answer by itself (`@Res()`): put the middleware of
 * Express or the plugin of Fastify around such routes. An observable is read to its end: not for `@Sse()`.
 */
export class TransactionInterceptor {
  readonly #tx: Transactions<unknown>;
  readonly #options: RequestOptions;

  constructor(tx: Transactions<unknown>, options: RequestOptions = {}) {
    this.#tx = tx;
    this.#options = options;
  }

  async intercept<Values extends ObservableValues>(
    context: NestExecutionContext,
    next: { handle(): Values },
  ): Promise<Values> {
    const label = `${context.getClass().name}.${context.getHandler().name}`;
    const response = context.getType() === 'http' ? context.switchToHttp().getResponse() : undefined;
    const signal = response === undefined ? undefined : clientGone(response.raw ?? response);
    const { commitOn = commitOnDefault } = this.#options;
    let declined: readonly unknown[] | undefined;
    const work = async (): Promise<readonly unknown[]> => {
      const values = await valuesOf(next.handle());
      if (response === undefined) return values;
      if (response.headersSent ?? response.sent ?? false) throw answeredByItself(label);
      if (commitOn(response.statusCode)) return values;
      declined = values;
      throw new Declined(response.statusCode);
    };
    const run = this.#tx.run(work, scopeOf(this.#options, label, signal));
    // Rolled back it is, whatever else was wrong with it.
    const values = await run.catch((error: unknown) => {
      if (declined === undefined) throw error;
      return declined;
    });
    // Nest makes an observable of whatever rxjs can make one of, such as a list.
    return values as unknown as Values;
  }
}

function valuesOf(observable: ObservableValues): Promise<readonly unknown[]> {
  return new Promise((resolve, reject) => {
    const values: unknown[] = [];
    const subscription = observable.subscribe({
      next(value) {
        values.push(value);
        if (values.length <= valuesMax) return;
        // It may do so while it is subscribed to.
        queueMicrotask(() => subscription.unsubscribe());
        reject(tooMany());
      },
      error: reject,
      complete: () => resolve(values),
    });
  });
}

function tooMany(): SettleError {
  return new SettleError('limit_exceeded', `an observable of more than ${valuesMax} values`, {
    next: 'Open transactions inside handlers that stream',
  });
}

function answeredByItself(label: string): SettleError {
  return new SettleError('config_invalid', `${label} sent its answer before the COMMIT`, {
    next: 'Return the answer, or use the middleware of settle/local/express, or the plugin of settle/local/fastify',
  });
}

/** The part of an Observable of rxjs that is used. */
export interface ObservableValues {
  subscribe(observer: {
    readonly next: (value: unknown) => void;
    readonly error: (error: unknown) => void;
    readonly complete: () => void;
  }): { unsubscribe(): void };
}

/** The part of Nest's ExecutionContext that is used. */
export interface NestExecutionContext {
  getType(): string;
  getClass(): { readonly name: string };
  getHandler(): { readonly name: string };
  switchToHttp(): { getResponse(): NestResponse };
}

/** A response of Express, or a reply of Fastify, which has one. */
interface NestResponse extends ClosableResponse {
  readonly statusCode: number;
  readonly headersSent?: boolean;
  readonly sent?: boolean;
  readonly raw?: ClosableResponse;
}
