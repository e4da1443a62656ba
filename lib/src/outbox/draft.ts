/** What becomes of a send: a message that is checked and made text, so that nothing about it can fail at the commit. */
import { inputIssueOf, type StandardResult } from '../define/standard-schema.ts';
import { messageOf, SettleError, type InputIssue } from '../util/errors.ts';
import { isPromiseLike, type MaybePromise } from '../util/maybe-promise.ts';
import { placeOf, type Destination, type Messages, type MessageType } from './define-messages.ts';
import { laneCount, laneOf, type Headers } from './message.ts';
import {
  dedupKeyLengthMax,
  delayMsMax,
  headersBytesMax,
  headersMax,
  idLengthMax,
  keyLengthMax,
} from './limits.ts';

/** What a send may say of a message beside its payload. */
export interface MessageFields {
  /**
   * By it consumers recognise a repeat: unique for ever, printable ASCII without spaces, at most 255 characters. Default: a
   * new ULID.
   */
  readonly id?: string | undefined;
  /** Instead of the type's. At most 255 characters. */
  readonly key?: string | undefined;
  /** Milliseconds, by the clock of the database, before which it is not published; at most a year. It is then ordered behind what came before. */
  readonly delayMs?: number | undefined;
  /** Go with the message, names in lower case. `content-type` and what begins with `settle-` is not yours. */
  readonly headers?: Headers | undefined;
  /**
   * Of messages with one dedup key only the first is written, for as long as that key is remembered: 7 days, unless the relay
   * says otherwise. At most 255 characters.
   */
  readonly dedupKey?: string | undefined;
  /** Instead of the type's. */
  readonly destination?: Destination | undefined;
}

/** A message that waits to be written. */
export interface Draft {
  readonly id: string;
  readonly type: string;
  readonly version: number;
  readonly target: string;
  readonly address: string;
  readonly key: string | null;
  readonly lane: number;
  /** JSON. */
  readonly payload: string;
  /** JSON. */
  readonly headers: string | null;
  readonly delayMs: number;
  readonly dedupKey: string | undefined;
  /** About so much it takes in a statement. */
  readonly bytes: number;
}

export interface DraftingOptions {
  readonly payloadBytesMax: number;
  readonly newId: () => string;
  readonly trace: (() => Headers | undefined) | undefined;
}

/** Checks a message. Throws, or rejects where its schema is asynchronous, `message_invalid` with its type and id. */
export type Drafting = (type: string, payload: unknown, fields: MessageFields) => MaybePromise<Draft>;

export function drafting(messages: Messages, options: DraftingOptions): Drafting {
  let nextLane = 0;

  function draftOf(type: MessageType, id: string, checked: unknown, fields: MessageFields): Draft {
    const refuse = (what: string, details?: Details): never => {
      throw invalid(type.name, id, what, details);
    };
    const payload = jsonOf(checked, refuse);
    const payloadBytes = Buffer.byteLength(payload);
    if (payloadBytes > options.payloadBytesMax) {
      refuse(`its payload has ${payloadBytes} bytes, more than ${options.payloadBytesMax}`, {
        next: 'Keep large data elsewhere and send a reference to it, or raise payloadBytesMax',
      });
    }
    const key = fields.key ?? keyOf(type, checked, refuse);
    if (key !== null) checkText('key', key, keyLengthMax, refuse);
    const { dedupKey, delayMs = 0, destination } = fields;
    if (dedupKey !== undefined) checkText('dedup key', dedupKey, dedupKeyLengthMax, refuse);
    if (!Number.isInteger(delayMs) || delayMs < 0 || delayMs > delayMsMax) {
      refuse(`delayMs is ${String(delayMs)}, not a whole number from 0 to ${delayMsMax}`);
    }
    const { target, address } =
      (destination === undefined ? type : placeOf(destination)) ??
      refuse(`${JSON.stringify(destination)} is no destination`, {
        next: "Name a publisher and what it takes for an address, such as 'kafka:orders'",
      });
    const headers = headersOf(fields.headers, options.trace?.(), refuse);
    return {
      id,
      type: type.name,
      version: type.version,
      target,
      address,
      key,
      // What has no key goes to all lanes in turn.
      lane: key === null ? nextLane++ % laneCount : laneOf(key),
      payload,
      headers,
      delayMs,
      dedupKey,
      bytes: payloadBytes + (headers?.length ?? 0) + fixedBytes,
    };
  }

  return (name, payload, fields) => {
    const id = fields.id ?? options.newId();
    const type = Object.hasOwn(messages, name) ? messages[name] : undefined;
    if (type === undefined) {
      throw invalid(name, id, 'its type is unknown', { next: 'Define it with defineMessages()' });
    }
    if (typeof id !== 'string' || !idShape.test(id)) {
      throw invalid(name, id, `its id is not 1 to ${idLengthMax} characters of ASCII without spaces`);
    }
    if (type.schema === undefined) return draftOf(type, id, payload, fields);
    const validated = type.schema['~standard'].validate(payload);
    if (isPromiseLike(validated)) {
      return validated.then((result) => draftOf(type, id, valueOf(result, type, id), fields));
    }
    return draftOf(type, id, valueOf(validated, type, id), fields);
  };
}

/** About what the short columns take. */
const fixedBytes = 200;
const idShape = new RegExp(`^[\\x21-\\x7e]{1,${idLengthMax}}$`);

type Refuse = (what: string, details?: Details) => never;

function valueOf(result: StandardResult<unknown>, { name }: MessageType, id: string): unknown {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map(inputIssueOf);
  const [first] = issues;
  const where = first === undefined ? '' : `: ${first.path || '/'} ${first.message}`;
  throw invalid(name, id, `its payload is not valid${where}`, { issues });
}

function jsonOf(payload: unknown, refuse: Refuse): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(payload) as string | undefined;
  } catch (error) {
    refuse(`its payload cannot be written as JSON: ${messageOf(error)}`, {
      cause: error,
      next: 'Send plain data: no bigint, no reference to itself',
    });
  }
  return (
    text ??
    refuse('its payload is nothing that JSON knows', { next: 'Send null where there is nothing to say' })
  );
}

function keyOf(type: MessageType, checked: unknown, refuse: Refuse): string | null {
  try {
    return type.key(checked) ?? null;
  } catch (cause) {
    return refuse(`its payload gives no key: ${messageOf(cause)}`, { cause });
  }
}

function checkText(what: string, text: unknown, lengthMax: number, refuse: Refuse): void {
  if (typeof text !== 'string') return refuse(`its ${what} is not a string`);
  if (text === '' || text.length > lengthMax) {
    return refuse(`its ${what} has ${text.length} characters, not 1 to ${lengthMax}`);
  }
  // No database takes the one, and no encoding the other.
  if (text.includes('\0') || !text.isWellFormed()) {
    refuse(`its ${what} has a character that is none: U+0000, or half of a surrogate pair`);
  }
}

function headersOf(own: Headers | undefined, trace: Headers | undefined, refuse: Refuse): string | null {
  if (own === undefined && trace === undefined) return null;
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [given, value] of [...Object.entries(trace ?? {}), ...Object.entries(own ?? {})]) {
    const name = given.toLowerCase();
    if (!headerShape.test(name))
      refuse(`the header ${JSON.stringify(given)} has no name that a broker knows`);
    if (name === 'content-type' || name.startsWith('settle-'))
      refuse(`the header ${name} is not the sender's`);
    if (typeof value !== 'string' || !valueShape.test(value)) {
      refuse(`the header ${name} is not text without control characters`);
    }
    headers[name] = value;
  }
  const count = Object.keys(headers).length;
  if (count === 0) return null;
  if (count > headersMax) refuse(`it has ${count} headers, more than ${headersMax}`);
  const text = JSON.stringify(headers);
  const bytes = Buffer.byteLength(text);
  if (bytes > headersBytesMax) refuse(`its headers have ${bytes} bytes, more than ${headersBytesMax}`);
  return text;
}

/** https://www.rfc-editor.org/rfc/rfc9110#name-tokens */
const headerShape = /^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
const valueShape = /^[^\p{Cc}\p{Cs}]*$/u;

interface Details {
  readonly next?: string;
  readonly cause?: unknown;
  readonly issues?: readonly InputIssue[];
}

function invalid(type: string, id: string, what: string, details: Details = {}): SettleError {
  return new SettleError('message_invalid', `${short(type)} ${short(id)}: ${what}`, {
    next: 'Correct it: nothing of it was written, and the transaction can go on',
    ...details,
  });
}

function short(text: unknown): string {
  return String(text).slice(0, 100);
}
