/** Who handles a message, and with what payload. */
import { inputIssueOf } from '../define/standard-schema.ts';
import type { CheckedPayloadOf, Messages, MessageType } from '../outbox/define-messages.ts';
import { messageOf } from '../util/errors.ts';
import type { IncomingMessage } from './incoming.ts';

export interface HandlerContext<Context> {
  readonly message: IncomingMessage;
  /** The transaction of the message: what is written through it takes effect once. With Redis, the lease of the message. */
  readonly tx: Context;
  /** Counts from 1, within this delivery. */
  readonly attempt: number;
  /** Aborts when the consumer stops and the time to finish is up. */
  readonly signal: AbortSignal;
}

export type Handler<Payload, Context> = (payload: Payload, context: HandlerContext<Context>) => unknown;

/** By type. One that is defined and has none here is skipped. */
export type Handlers<M extends Messages, Context> = {
  readonly [Type in keyof M]?: Handler<CheckedPayloadOf<M, Type>, Context>;
};

/**
 * - `handler`: with the payload its schema made of it.
 * - `nobody`: the type is known, and nothing is to be done here.
 * - `unknown`: this program knows nothing of it, or of so new a version.
 * - `invalid`: the payload is not what its type has to be.
 */
export type Found<Context> =
  | { readonly kind: 'handler'; readonly handler: Handler<unknown, Context>; readonly payload: unknown }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'unknown' | 'invalid'; readonly reason: string };

export interface Lookup<Context> {
  readonly messages: Messages | undefined;
  readonly handlers: Readonly<Record<string, Handler<never, Context> | undefined>>;
  readonly handle: Handler<unknown, Context> | undefined;
}

export async function findHandler<Context>(
  { messages, handlers, handle }: Lookup<Context>,
  message: IncomingMessage,
): Promise<Found<Context>> {
  const { type, version } = message;
  const defined = own(messages, type);
  if (messages !== undefined && defined === undefined) return unknown(`the type ${type} is not defined here`);
  if (defined !== undefined && version > defined.version) {
    return unknown(`version ${version} of ${type} is newer than ${defined.version}, which is known here`);
  }
  const handler = (own(handlers, type) as Handler<unknown, Context> | undefined) ?? handle;
  if (handler === undefined) {
    return defined === undefined ? unknown(`nobody handles the type ${type}`) : { kind: 'nobody' };
  }
  const payload = await payloadOf(message, defined);
  return payload.kind === 'payload' ? { kind: 'handler', handler, payload: payload.value } : payload;
}

type Payload =
  | { readonly kind: 'payload'; readonly value: unknown }
  | { readonly kind: 'invalid'; readonly reason: string };

async function payloadOf({ payload }: IncomingMessage, type: MessageType | undefined): Promise<Payload> {
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch (error) {
    return invalid(`the payload is no JSON: ${messageOf(error)}`);
  }
  if (type?.schema === undefined) return { kind: 'payload', value };
  const result = await type.schema['~standard'].validate(value);
  if (result.issues === undefined) return { kind: 'payload', value: result.value };
  const issues = result.issues.slice(0, issuesTold).map(inputIssueOf);
  return invalid(`the payload: ${issues.map(({ path, message }) => `${path} ${message}`).join('; ')}`);
}

const issuesTold = 10;

/** Names come from outside: what an object inherits is none of its own. */
function own<T>(record: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, name) ? record[name] : undefined;
}

function unknown(reason: string): { readonly kind: 'unknown'; readonly reason: string } {
  return { kind: 'unknown', reason };
}

function invalid(reason: string): { readonly kind: 'invalid'; readonly reason: string } {
  return { kind: 'invalid', reason };
}
