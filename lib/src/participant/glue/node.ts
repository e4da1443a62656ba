/** `settle/participant/node`: branch calls on a plain node:http (or https) server. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Handler, HandlerResponse } from '../message.ts';

/**
 * A listener for `createServer`. It answers every request it is given; route before it if the server does more.
 */
export function nodeHandler(handler: Handler): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const answer = (): void => {
      request.removeAllListeners('data').removeAllListeners('end');
      void serve(handler, request, response, chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
    };
    request.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > handler.bodyBytesMax) answer();
    });
    request.on('end', answer);
    // The caller went away in mid-request: there is nobody to answer.
    request.on('error', () => response.destroy());
  };
}

async function serve(
  handler: Handler,
  request: IncomingMessage,
  response: ServerResponse,
  body: Uint8Array = new Uint8Array(),
): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => {
    if (!response.writableEnded) gone.abort();
  });
  const { method = 'GET', url: path = '/', headers } = request;
  write(response, await handler({ method, path, headers, body, signal: gone.signal }), request.complete);
}

/** Also for frameworks on top of node:http. A request that was not read to its end costs its connection. */
export function write(response: ServerResponse, answer: HandlerResponse, complete: boolean): void {
  const length = Buffer.byteLength(answer.body);
  response.writeHead(answer.status, {
    ...answer.headers,
    ...(answer.status === 204 ? {} : { 'content-length': length }),
    ...(complete ? {} : { connection: 'close' }),
  });
  response.end(answer.body);
}
