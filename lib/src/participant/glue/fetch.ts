/** `settle/participant/fetch`: branch calls as `(Request) => Promise<Response>`, for Deno, Bun, workers and frameworks. */
import type { Handler } from '../message.ts';

/** Answers a Request whose body nobody has read yet. */
export function fetchHandler(handler: Handler): (request: Request) => Promise<Response> {
  return async (request) => {
    const { method, headers, signal } = request;
    const body = await readBody(request, handler.bodyBytesMax);
    const { pathname: path } = new URL(request.url);
    const answer = await handler({ method, path, headers: Object.fromEntries(headers), body, signal });
    return new Response(answer.status === 204 ? null : answer.body, {
      status: answer.status,
      headers: answer.headers,
    });
  };
}

/** At most one chunk more than the handler takes: enough for it to see that it is too large. */
async function readBody(request: Request, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  if (request.body === null) return new Uint8Array();
  for await (const chunk of request.body as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.byteLength;
    if (length > bytesMax) break;
  }
  return Buffer.concat(chunks);
}
