/** `settle/local/hono`: a transaction for each request of Hono. */
import type { Transactions } from '../transactions.ts';
import { commitOnDefault, Declined, scopeOf, type RequestOptions } from './request-transaction.ts';

/**
 * A middleware: what comes after it runs in a transaction, `app.use('/orders/*', honoTransaction(tx))`.
 *
 * When the answer is there, the transaction is committed if its status is below 400 and nothing was thrown; otherwise it is
 * rolled back. When it cannot be committed, the error goes to `onError` of the app instead of the answer: 500 by default.
 * When the signal of the request aborts before, because the client is gone, it is rolled back.
 *
 * Guarantees: no client has an answer that commits before the COMMIT. A stream is read after it; what its callback does in
 * the transaction later than that is refused, with `scope_ended`.
 */
export function honoTransaction(
  tx: Transactions<unknown>,
  options: RequestOptions = {},
): (context: HonoContext, next: () => Promise<void>) => Promise<void> {
  const { commitOn = commitOnDefault } = options;
  return async (context, next) => {
    const { method, path, raw } = context.req;
    let declined: Declined | undefined;
    const work = async (): Promise<void> => {
      await next();
      const { status } = context.res;
      if (context.error === undefined && commitOn(status)) return;
      declined = new Declined(status);
      throw declined;
    };
    try {
      await tx.run(work, scopeOf(options, `${method} ${path}`, raw.signal));
    } catch (error) {
      // Rolled back it is, whatever else was wrong with it.
      if (declined !== undefined) return;
      forgetAnswer(context);
      throw error;
    }
  };
}

/** What says something about the answer that is not sent. Others are of middlewares, such as those for other origins. */
const ofTheAnswer = /^(?:content-.*|location|set-cookie|etag|last-modified|cache-control|expires)$/;

/** Hono gives the answer of an error the headers of this one. */
function forgetAnswer(context: HonoContext): void {
  const names = [...context.res.headers.keys()];
  for (const name of names.filter((name) => ofTheAnswer.test(name))) context.header(name);
}

/** A Hono context, as far as it matters here. */
export interface HonoContext {
  readonly req: { readonly method: string; readonly path: string; readonly raw: Request };
  readonly error: Error | undefined;
  readonly res: Response;
  /** Takes the header away, without a value. */
  header(name: string): void;
}
