/** `settle/local/fastify`: a transaction for each request of Fastify. */
import type { Transactions } from '../transactions.ts';
import {
  clientGone,
  RequestTransaction,
  scopeOf,
  type ClosableResponse,
  type RequestOptions,
} from './request-transaction.ts';

/**
 * A plugin: `app.register(fastifyTransaction(tx))` makes the handlers of that app, or plugin, run in a transaction. It
 * begins in `preHandler`, when the body is read and validated.
 *
 * Before the answer leaves, in `onSend`, the transaction is committed when the status is below 400 and nothing was thrown;
 * otherwise it is rolled back. When it cannot be committed, the error goes to the error handler, which answers outside of
 * the transaction, 500 by default. When the client goes away before, it is rolled back.
 *
 * Guarantees: no client has an answer that commits before the COMMIT. A stream is read after it, outside of the
 * transaction. A reply that was hijacked is not waited for: its transaction is rolled back. Hooks of `onSend` that are added
 * after this one run after the COMMIT.
 */
export function fastifyTransaction(tx: Transactions<unknown>, options: RequestOptions = {}): FastifyPlugin {
  const plugin = (app: FastifyApp, _options: unknown, done: () => void): void => {
    const requests = new WeakMap<object, Open>();
    const hooks: FastifyHooks = app;
    hooks.addHook('preHandler', (request, reply, done) => {
      const label = `${request.method} ${request.url.replace(/\?.*/s, '')}`;
      const signal = clientGone(reply.raw);
      const transaction = new RequestTransaction(options, signal);
      requests.set(request, { transaction, headers: reply.getHeaders() });
      // It calls back instead of giving a promise: what is called from inside the transaction stays in it.
      transaction.begin(tx, scopeOf(options, label, signal), done);
    });
    hooks.addHook('onError', (request, _reply, error, done) => {
      requests.get(request)?.transaction.fail(error);
      done();
    });
    hooks.addHook('onSend', (request, reply, payload, done) => {
      const open = requests.get(request);
      if (open === undefined) return done();
      // What comes next, also in hooks of `onResponse`, comes after the transaction and not in it.
      const goOn = (error?: unknown): void => tx.exit(() => passOn(done, error));
      const fail = (error: unknown): void => {
        restoreHeaders(reply, open.headers);
        goOn(error);
      };
      void open.transaction.end(statusOf(reply, payload)).then(() => goOn(), fail);
    });
    // It was hijacked, if it gets here undecided.
    hooks.addHook('onResponse', (request, _reply, done) => {
      const open = requests.get(request);
      open?.transaction.fail(new Error('the reply was hijacked'));
      void open?.transaction.end(500);
      done();
    });
    done();
  };
  return Object.assign(plugin, {
    // Its hooks are those of the app it is registered in.
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: 'settle-local',
  });
}

interface Open {
  readonly transaction: RequestTransaction;
  /** As they were when it began. */
  readonly headers: Headers;
}

type Done = (error?: unknown) => void;

/** What fails from here on has to reach Fastify, which sees to it itself only with hooks that give a promise. */
function passOn(done: Done, error: unknown): void {
  try {
    done(error);
  } catch (thrown) {
    done(thrown);
  }
}

/** A `Response` that was sent has a status of its own, which Fastify takes over later. */
function statusOf(reply: FastifyReply, payload: unknown): number {
  return payload instanceof Response ? payload.status : reply.statusCode;
}

/** Those of an answer that is not sent are not those of the error. */
function restoreHeaders(reply: FastifyReply, before: Headers): void {
  for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name);
  for (const [name, value] of Object.entries(before)) reply.header(name, value);
}

type Headers = Readonly<Record<string, unknown>>;

export type FastifyPlugin = (app: FastifyApp, options: unknown, done: () => void) => void;

/** A Fastify instance, as far as it matters here: its hooks are those below, which its overloads do not let one say. */
export interface FastifyApp {
  addHook(name: never, hook: never): unknown;
}

interface FastifyHooks {
  addHook(name: 'preHandler' | 'onResponse', hook: Hook<[done: Done]>): void;
  addHook(name: 'onError', hook: Hook<[error: Error, done: () => void]>): void;
  addHook(name: 'onSend', hook: Hook<[payload: unknown, done: Done]>): void;
}

type Hook<More extends unknown[]> = (request: FastifyRequest, reply: FastifyReply, ...more: More) => void;

interface FastifyRequest {
  readonly method: string;
  readonly url: string;
}

interface FastifyReply {
  readonly statusCode: number;
  readonly raw: ClosableResponse;
  getHeaders(): Headers;
  removeHeader(name: string): unknown;
  header(name: string, value: unknown): unknown;
}
