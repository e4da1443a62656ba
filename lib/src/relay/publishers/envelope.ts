/** The headers of a published message: one place for all publishers, so that every consumer finds the same names. */
import {
  cloudEventsAttributes as attributes,
  contentTypeHeader,
  type HeaderStyle,
  idHeader,
  keyHeader,
  type OwnField,
  percentEncoded,
  traceparentHeader,
  tracestateHeader,
  typeHeader,
  versionHeader,
} from '../../outbox/broker-headers.ts';
import type { OutgoingMessage } from '../publisher.ts';

export interface EnvelopeOptions {
  /**
   * How id, type, version, key and content type are told: in headers of Settle (`settle-id` ...), or as attributes of a
   * CloudEvent in binary mode (`ce_id` ...). Fields of the broker's own are set in both. Default: `plain`.
   */
  readonly format?: 'plain' | 'cloudevents';
  /** The `source` of CloudEvents: a URI reference that says who sends. Default: `settle`. */
  readonly source?: string;
}

/** A function that gives the headers of a message: those of its sender, and the fields that the broker has no place for. */
export function envelope(
  style: HeaderStyle,
  { format = 'plain', source = 'settle' }: EnvelopeOptions = {},
): (message: OutgoingMessage) => Record<string, string> {
  const encode = style.percentEncoded ? percentEncoded : asItIs;
  return format === 'plain' ? plain(style, encode) : cloudEvent(style, encode, encode(source));
}

type Encode = (text: string) => string;

function plain(style: HeaderStyle, encode: Encode): (message: OutgoingMessage) => Record<string, string> {
  const writes = (field: OwnField): boolean => !style.own.includes(field);
  const [id, type, key, contentType] = [writes('id'), writes('type'), writes('key'), writes('contentType')];
  return (message) => {
    const headers: Record<string, string> = { ...message.headers };
    if (id) headers[idHeader] = encode(message.id);
    if (type) headers[typeHeader] = encode(message.type);
    headers[versionHeader] = String(message.version);
    if (key && message.key !== undefined) headers[keyHeader] = encode(message.key);
    if (contentType) headers[contentTypeHeader] = message.contentType;
    return headers;
  };
}

function cloudEvent(
  style: HeaderStyle,
  encode: Encode,
  source: string,
): (message: OutgoingMessage) => Record<string, string> {
  const prefix = style.cloudEventsPrefix;
  const contentType = !style.own.includes('contentType');
  return (message) => {
    const headers: Record<string, string> = { ...message.headers };
    headers[prefix + attributes.specversion] = '1.0';
    headers[prefix + attributes.id] = encode(message.id);
    headers[prefix + attributes.source] = source;
    headers[prefix + attributes.type] = encode(message.type);
    headers[prefix + attributes.version] = String(message.version);
    headers[prefix + attributes.time] = new Date(message.createdAtMs).toISOString();
    if (message.key !== undefined) headers[prefix + attributes.key] = encode(message.key);
    if (contentType) headers[contentTypeHeader] = message.contentType;
    if (style.contentTypeIsAttribute) headers[prefix + attributes.contentType] = message.contentType;
    // The extension "Distributed Tracing" wants the trace the event began in beside that of its transport.
    for (const name of [traceparentHeader, tracestateHeader]) {
      const value = message.headers[name];
      if (value !== undefined) headers[prefix + name] = encode(value);
    }
    return headers;
  };
}

function asItIs(text: string): string {
  return text;
}
