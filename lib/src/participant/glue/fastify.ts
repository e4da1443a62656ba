/** `settle/participant/fastify`: branch calls as a Fastify plugin. */
import type { Handler, HandlerResponse } from '../message.ts';
import type { IncomingHeaders } from '../../wire/headers.ts';

/**
 * A plugin that serves handlers by path: `app.register(fastifyParticipant({ '/release': release }))`. A path may end in
 * `*`. Inside the plugin bodies are not parsed, since a signature covers their bytes; the rest of the app is not touched.
 */
export function fastifyParticipant(
  handlers: Readonly<Record<string, Handler>>,
): (app: FastifyApp, options: unknown, done: () => void) => void {
  return (app, _options, done) => {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, parsed) => parsed(null, body));
    for (const [url, handler] of Object.entries(handlers)) {
      app.route({
        method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
        url,
        // The handler is to see, and to refuse, what is one byte too large.
        bodyLimit: handler.bodyBytesMax + 1,
        handler: async ({ method, url: path, headers, body }, reply) => {
          const bytes = body instanceof Uint8Array ? body : '';
          return send(reply, await handler({ method, path, headers, body: bytes }));
        },
      });
    }
    done();
  };
}

function send(reply: FastifyReply, { status, headers, body }: HandlerResponse): unknown {
  return reply
    .code(status)
    .headers(headers)
    .send(body === '' ? undefined : body);
}

/** A Fastify instance, as far as it matters here. */
export interface FastifyApp {
  removeAllContentTypeParsers(): void;
  addContentTypeParser(
    contentType: string,
    options: { parseAs: 'buffer' },
    parser: (request: unknown, body: Buffer, done: (error: Error | null, body?: unknown) => void) => void,
  ): unknown;
  route(route: {
    method: FastifyMethod[];
    url: string;
    bodyLimit: number;
    handler: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;
  }): unknown;
}

type FastifyMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

interface FastifyRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHeaders;
  readonly body: unknown;
}

interface FastifyReply {
  code(status: number): this;
  headers(headers: Readonly<Record<string, string>>): this;
  send(body: string | undefined): this;
}
