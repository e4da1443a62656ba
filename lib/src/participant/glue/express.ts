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
 * `express.json()` by itself takes objects and arrays only, of up to 100 KiB: give it `{ strict: false, limit: '256kb' }`.
 */
export function expressHandler(handler: Handler): (request: ParsedRequest, response: ServerResponse) => void {
  const unparsed = nodeHandler(handler);
  return (request, response) => {
    const { body, method = 'GET', headers } = request;
    // A parser that found nothing to parse leaves the request unread.
    if (body === undefined || !request.readableEnded) return unparsed(request, response);
    const path = request.originalUrl ?? request.url ?? '/';
    const asText = textOf(body, headers['content-length']);
    void handler({ method, path, headers, body: asText }).then((answer) => write(response, answer, true));
  };
}

/** What came over the wire, from what a parser made of it. */
function textOf(body: unknown, length: string | undefined): string | Uint8Array {
  if (length === '0') return '';
  if (body instanceof Uint8Array) return body;
  // A text is what came, or a JSON string that was parsed: the latter lost its quotes.
  const isWhole =
    typeof body === 'string' && (length === undefined || Buffer.byteLength(body) === Number(length));
  return isWhole ? body : JSON.stringify(body);
}

/** An Express request, as far as it matters here. */
export interface ParsedRequest extends IncomingMessage {
  readonly body?: unknown;
  readonly originalUrl?: string;
}
