/** The API as a fetch-style handler, for frameworks that speak Request and Response. Slower than the plain one. */
import { SettleError } from '../util/errors.ts';
import { toProblem } from '../wire/problem.ts';
import { problemResponse, type Api, type ApiResponse } from './exchange.ts';
import { apiLimits } from './limits.ts';

export interface FetchOptions {
  /** Bytes of a body; the rest is not read. Default 1 MiB. */
  readonly bodyBytesMax?: number;
}

/** Wraps an {@link Api}. The Host header is taken from the URL where the platform does not pass it on. */
export function fetchHandler(api: Api, options: FetchOptions = {}): (request: Request) => Promise<Response> {
  const { bodyBytesMax = apiLimits.bodyBytesMax } = options;
  return async (request) => {
    const { host, pathname, search } = new URL(request.url);
    const body = await bodyOf(request, bodyBytesMax);
    if (body === undefined) return toResponse(tooLarge(bodyBytesMax));
    return toResponse(
      await api({
        method: request.method,
        path: pathname,
        query: search.slice(1),
        headers: { host, ...Object.fromEntries(request.headers) },
        body,
        signal: request.signal,
      }),
    );
  };
}

async function bodyOf(request: Request, bytesMax: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const body: AsyncIterable<Uint8Array> | null = request.body;
  if (body === null) return new Uint8Array();
  for await (const chunk of body) {
    length += chunk.byteLength;
    // Leaving the loop cancels the stream.
    if (length > bytesMax) return undefined;
    chunks.push(chunk);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

function tooLarge(bytesMax: number): ApiResponse {
  return problemResponse(
    toProblem(new SettleError('body_too_large', `the body is larger than ${bytesMax} bytes`)),
  );
}

function toResponse({ status, headers, body }: ApiResponse): Response {
  return new Response(typeof body === 'string' ? body : streamOf(body), { status, headers });
}

function streamOf(chunks: AsyncIterable<string>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      const next: IteratorResult<string, unknown> = await iterator.next();
      if (next.done === true) controller.close();
      else controller.enqueue(encoder.encode(next.value));
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
