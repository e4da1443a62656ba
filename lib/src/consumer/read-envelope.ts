/**
 * Opens a message that carries a CloudEvent as a whole in its body ("structured mode",
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md): who it is stands in there, and in no
 * header. Other messages are read by `readIncoming`, and stay as they are here.
 *
 * Brokers' consumers do not look into bodies: order per key is by the key that the broker itself has.
 */
import { cloudEventsAttributes as attributes } from '../outbox/broker-headers.ts';
import { SettleError } from '../util/errors.ts';
import { isJsonObject, type JsonObject } from '../util/json.ts';
import type { IncomingMessage } from './incoming.ts';

/** Throws `message_invalid` for what calls itself such an event and is none. */
export function readEnvelope(message: IncomingMessage): IncomingMessage {
  if (!isStructured(message.contentType)) return message;
  const event = eventIn(message.payload);
  const { id, type, specversion, data } = event;
  if (typeof specversion !== 'string' || !/^1\.\d+$/.test(specversion))
    throw invalid('has no specversion 1.x');
  if (typeof id !== 'string' || id === '') throw invalid('has no id');
  if (typeof type !== 'string' || type === '') throw invalid('has no type');
  if (event['data_base64'] !== undefined) throw invalid('has binary data');
  const key = event[attributes.key];
  const contentType = event[attributes.contentType];
  return {
    ...message,
    id,
    type,
    version: versionOf(event[attributes.version]),
    key: typeof key === 'string' ? key : message.key,
    payload: JSON.stringify(data ?? null),
    contentType: typeof contentType === 'string' ? contentType : 'application/json',
    headers: { ...message.headers, ...traceOf(event) },
  };
}

function isStructured(contentType: string | undefined): boolean {
  return contentType !== undefined && /^\s*application\/cloudevents\+json\s*(?:;|$)/i.test(contentType);
}

function eventIn(payload: string): JsonObject {
  const event = parsed(payload);
  if (isJsonObject(event)) return event;
  throw invalid('is no JSON object');
}

function parsed(payload: string): unknown {
  try {
    return JSON.parse(payload);
  } catch (cause) {
    throw invalid('is no JSON', cause);
  }
}

/** An attribute is text or a number. */
function versionOf(version: unknown): number {
  const text = String(version);
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : 1;
}

/** The extension "Distributed Tracing". */
function traceOf({ traceparent, tracestate }: JsonObject): Readonly<Record<string, string>> {
  return {
    ...(typeof traceparent === 'string' && { traceparent }),
    ...(typeof tracestate === 'string' && { tracestate }),
  };
}

function invalid(what: string, cause?: unknown): SettleError {
  return new SettleError('message_invalid', `the CloudEvent ${what}`, {
    next: 'Correct its sender; the message lies among the dead letters',
    cause,
  });
}
