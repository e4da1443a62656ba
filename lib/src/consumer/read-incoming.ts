/** Reads what publishers write: the fields of a message out of a broker's own fields and its headers. */
import {
  cloudEventsAttributes as attributes,
  contentTypeHeader,
  type HeaderStyle,
  idHeader,
  keyHeader,
  percentDecoded,
  typeHeader,
  versionHeader,
} from '../outbox/broker-headers.ts';
import type { IncomingMessage } from './incoming.ts';

/** What tells which message it is. */
export type Identity = Pick<IncomingMessage, 'id' | 'type' | 'version' | 'key'>;

/** What came, before it is known what it means. */
export interface Raw {
  readonly payload: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** What the broker has fields of its own for. */
  readonly own: Partial<Record<'id' | 'type' | 'key' | 'contentType', string | undefined>>;
  readonly source: string;
  readonly ref: string;
}

/**
 * The message, in the plain format and as a CloudEvent in binary mode alike.
 *
 * `told` is what the consumer's owner knows better, for messages of others. A message without a type has `''`; one without an id
 * gets `fallbackId`, so that none is taken for a repeat of another.
 */
export function readIncoming(
  style: HeaderStyle,
  { payload, headers, own, source, ref }: Raw,
  { told = {}, fallbackId }: { readonly told?: Partial<Identity>; readonly fallbackId: () => string },
): IncomingMessage {
  const decode = style.percentEncoded ? percentDecoded : asItIs;
  const header = (plain: string, attribute: string): string | undefined => {
    const text = headers[plain] ?? headers[style.cloudEventsPrefix.toLowerCase() + attribute];
    return text === undefined ? undefined : decode(text);
  };
  return {
    id: told.id ?? own.id ?? header(idHeader, attributes.id) ?? fallbackId(),
    type: told.type ?? own.type ?? header(typeHeader, attributes.type) ?? '',
    version: told.version ?? versionIn(header(versionHeader, attributes.version)),
    key: 'key' in told ? told.key : (own.key ?? header(keyHeader, attributes.key)),
    payload,
    contentType: own.contentType ?? header(contentTypeHeader, attributes.contentType),
    headers,
    source,
    ref,
  };
}

/** What the owner's function says; nothing when it fails, so that a message that nobody can identify holds up no other. */
export function toldBy<Came>(
  identify: ((came: Came) => Partial<Identity>) | undefined,
  came: Came,
): Partial<Identity> {
  try {
    return identify?.(came) ?? {};
  } catch {
    return {};
  }
}

function versionIn(text: string | undefined): number {
  return text !== undefined && /^[1-9]\d{0,8}$/.test(text) ? Number(text) : 1;
}

function asItIs(text: string): string {
  return text;
}
