import type { ScopeOptions } from '../options.ts';
import type { Transactions } from '../transactions.ts';

/** How requests run in transactions. */
export interface RequestOptions extends Pick<
  ScopeOptions,
  'isolation' | 'readOnly' | 'timeoutMs' | 'acquireTimeoutMs'
> {
  /** Which statuses commit; with every other one the transaction is rolled back. Default: those below 400. */
  readonly commitOn?: (status: number) => boolean;
}

export function commitOnDefault(status: number): boolean {
  return status < 400;
}

export type RequestScope = ScopeOptions & { readonly propagation: 'required' };

/** The options of the scope that a request is. It cannot be had a second time, so there are no further attempts. */
export function scopeOf(options: RequestOptions, label: string, signal?: AbortSignal): RequestScope {
  const scope: RequestScope = { ...options, label, propagation: 'required', retry: { attemptsMax: 1 } };
  return signal === undefined ? scope : { ...scope, signal };
}

/** Thrown inside the transaction of a request whose answer is not to be committed. It reaches nobody. */
export class Declined extends Error {
  constructor(status: number) {
    super(`answered ${status}`);
  }
}

/**
 * The transaction around one request whose framework goes on by a callback: it lasts from there until the status of the
 * answer is known. It knows neither requests nor responses.
 *
 * One that ends before that, because its time is up or its client gone, fails what the request goes on to do with the
 * database, and its `end`.
 */
export class RequestTransaction {
  readonly #commitOn: (status: number) => boolean;
  readonly #signal: AbortSignal;
  readonly #decision = Promise.withResolvers<void>();
  readonly #end = Promise.withResolvers<void>();
  #thrown: { readonly error: unknown } | undefined;

  /** `signal`: aborts when the client has gone. */
  constructor({ commitOn = commitOnDefault }: RequestOptions, signal: AbortSignal) {
    this.#commitOn = commitOn;
    this.#signal = signal;
    // It may end on its own account before anything is decided, and nobody may ask how it ended.
    this.#decision.promise.catch(() => {});
    this.#end.promise.catch(() => {});
  }

  /**
   * Goes on inside the transaction; the answer may be there before this returns. When it cannot even begin, it goes on with
   * the error, outside of it.
   */
  begin(tx: Transactions<unknown>, scope: RequestScope, goOn: (error?: unknown) => void): void {
    let hasBegun = false;
    const work = (): Promise<void> => {
      hasBegun = true;
      goOn();
      return this.#decision.promise;
    };
    tx.run(work, scope).then(this.#end.resolve, (error: unknown) => {
      this.#end.reject(error);
      if (!hasBegun) goOn(error);
    });
  }

  /** Something was thrown: it is rolled back, whatever status an error handler makes of that. */
  fail(error: unknown): void {
    this.#thrown ??= { error };
  }

  /**
   * Ends it as the status says. Rejects, as `Transactions.run` does, only when it should have been committed: the answer
   * must not be sent then. The first call decides.
   */
  async end(status: number): Promise<void> {
    let rollback: { readonly error: unknown } | undefined = this.#thrown;
    try {
      if (rollback === undefined && !this.#commitOn(status)) rollback = { error: new Declined(status) };
    } catch (error) {
      await this.#rollBack(error);
      throw error;
    }
    if (rollback !== undefined) return await this.#rollBack(rollback.error);
    this.#decision.resolve();
    try {
      await this.#end.promise;
    } catch (error) {
      // When the client has gone, nobody is there who could be told.
      if (!this.#signal.aborted) throw error;
    }
  }

  async #rollBack(why: unknown): Promise<void> {
    this.#decision.reject(why);
    // Rolled back it is, whatever else was wrong with it.
    await this.#end.promise.catch(() => {});
  }
}

/** The part of a response of node:http that tells whether its client is there. */
export interface ClosableResponse {
  readonly destroyed: boolean;
  readonly writableFinished: boolean;
  on(event: 'close', listener: () => void): unknown;
}

/** Aborts when the client goes away before it has the whole response. */
export function clientGone(response: ClosableResponse): AbortSignal {
  const gone = new AbortController();
  const abort = (): void => gone.abort(new Error('the client has gone'));
  if (response.destroyed) abort();
  response.on('close', () => {
    if (!response.writableFinished) abort();
  });
  return gone.signal;
}
