/** `settle/participant/hono`: branch calls as a Hono handler. */
import type { Handler } from '../message.ts';
import { fetchHandler } from './fetch.ts';

/** A handler for `app.all(path, honoHandler(...))`. Mount it before anything that reads the body. */
export function honoHandler(handler: Handler): (context: HonoContext) => Promise<Response> {
  const answer = fetchHandler(handler);
  return (context) => answer(context.req.raw);
}

/** A Hono context, as far as it matters here. */
export interface HonoContext {
  readonly req: { readonly raw: Request };
}
