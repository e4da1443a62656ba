/** `settle/participant/express`: branch calls as an Express route handler. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Handler } from '../message.ts';
import { nodeHandler, write } from './node.ts';

/**
 * A handler for `app.post(path, expressHandler(...))`, on Express 4 and 5.
 *
 * Best mounted before any body parser. After `express.raw()` or `express.text()` the body is taken as they left it.
 * After `express.json()` it is printed again, which gives back the very text that a Settle coordinator sent, and so
 * its signature holds; JSON of another origin may have been written differently, and then a signature does not verify.
 */
export function expressHandler(handler: Handler): (request: ParsedRequest, response: ServerResponse) => void {
  const unparsed = nodeHandler(handler);
  return (request, response) => {
    const { body, method = 'GET', headers } = request;
    // A parser that found nothing to parse leaves the request unread.
    if (body === undefined || !request.readableEnded) return unparsed(request, response);
    const path = request.originalUrl ?? request.url ?? '/';
    const asText = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    void handler({ method, path, headers, body: asText }).then((answer) => write(response, answer, true));
  };
}

/** An Express request, as far as it matters here. */
export interface ParsedRequest extends IncomingMessage {
  readonly body?: unknown;
  readonly originalUrl?: string;
}
