/**
 * How the fields of a message travel through brokers: the names that publishers write and consumers read.
 *
 * A broker that has a field of its own for one of them carries it there, and not a second time in a header of ours.
 */

export const idHeader = 'settle-id';
export const typeHeader = 'settle-type';
export const versionHeader = 'settle-version';
export const keyHeader = 'settle-key';
export const contentTypeHeader = 'content-type';
/** A property of AMQP: `correlation_id`. */
export const correlationHeader = 'correlation-id';
/** https://www.w3.org/TR/trace-context/ */
export const traceparentHeader = 'traceparent';
export const tracestateHeader = 'tracestate';

/** Attributes of CloudEvents (https://github.com/cloudevents/spec), by what they are to us. */
export const cloudEventsAttributes = {
  specversion: 'specversion',
  id: 'id',
  source: 'source',
  type: 'type',
  time: 'time',
  contentType: 'datacontenttype',
  /** The extension "Partitioning". */
  key: 'partitionkey',
  /** An extension of ours: CloudEvents knows versions only as part of `type` or `dataschema`. */
  version: 'dataversion',
} as const;

/** What is different of a broker where its headers are concerned. */
export interface HeaderStyle {
  /** Fields of a plain message which this broker carries in fields of its own. */
  readonly own: readonly OwnField[];
  /** What the names of CloudEvents' attributes begin with, by its protocol binding. */
  readonly cloudEventsPrefix: 'ce_' | 'ce-' | 'cloudEvents_';
  /** Whether values are printable ASCII, so that everything else is percent-encoded as that binding says. */
  readonly percentEncoded: boolean;
  /** Whether a CloudEvent says the type of its data as an attribute besides: `content-type` alone means "structured" there. */
  readonly contentTypeIsAttribute: boolean;
}

export type OwnField = 'id' | 'type' | 'key' | 'contentType';

export const headerStyles = {
  kafka: { own: ['key'], cloudEventsPrefix: 'ce_', percentEncoded: false, contentTypeIsAttribute: false },
  /** `Nats-Msg-Id` is the id. */
  nats: { own: ['id'], cloudEventsPrefix: 'ce-', percentEncoded: true, contentTypeIsAttribute: true },
  /** The properties `message_id`, `type` and `content_type`. */
  amqp: {
    own: ['id', 'type', 'contentType'],
    cloudEventsPrefix: 'cloudEvents_',
    percentEncoded: false,
    contentTypeIsAttribute: false,
  },
  /** `webhook-id` and `content-type`. */
  http: {
    own: ['id', 'contentType'],
    cloudEventsPrefix: 'ce-',
    percentEncoded: true,
    contentTypeIsAttribute: false,
  },
  /** Fields of an entry; no binding is defined for them, so they are those of Kafka. */
  redis: { own: [], cloudEventsPrefix: 'ce_', percentEncoded: false, contentTypeIsAttribute: false },
} as const satisfies Record<string, HeaderStyle>;

/** https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values */
export function percentEncoded(text: string): string {
  return /^[!#-$&-~]*$/.test(text) ? text : text.toWellFormed().replace(/[^!#-$&-~]+/g, encodeURIComponent);
}

/** What {@link percentEncoded} made; a text that is not of its making stays as it is. */
export function percentDecoded(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
