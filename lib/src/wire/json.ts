/**
 * JSON from strangers: what `JSON.parse` takes, less what is dangerous or ambiguous.
 *
 * - J1 Bounded before it is parsed: bytes, and depth (so that the parser never recurses further).
 * - J2 No member twice in one object: two readers could disagree on which one counts.
 * - J3 No `__proto__`, no `constructor.prototype`: a later merge of the value cannot reach a prototype.
 * - J4 No number that becomes Infinity: it could not be written back.
 * - J5 No invalid UTF-8, no byte order mark inside a text. Lone surrogates in escapes are carried as they are.
 *
 * The happy path is one scan that counts structural colons, one `JSON.parse`, and one walk that counts members: the
 * counts differ exactly when a member was swallowed by J2. Only then is the text read again, slowly, for its name.
 * Numbers beyond 2^53 lose digits as they do everywhere in JavaScript; send such identifiers as strings.
 */
import { SettleError, messageOf, type InputIssue } from '../util/errors.ts';
import { pointerTo } from './schema.ts';
import type { Json } from '../util/json.ts';

export interface JsonLimits {
  readonly bytesMax: number;
  /** Objects and arrays within each other; a plain value has depth 0, `[[]]` has 2. */
  readonly depthMax: number;
}

/** Objects and arrays within each other in one document. */
export const jsonDepthMax = 16;

/** Throws `body_too_large`, or `invalid_request` with the JSON Pointer of what is refused. */
export function parseJson(body: string | Uint8Array, limits: JsonLimits): Json {
  const text = typeof body === 'string' ? bounded(body, limits) : decoded(body, limits);
  const colons = countColons(text, limits.depthMax);
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (error) {
    // V8 repeats only a few characters around the fault.
    throw refused('the body is not JSON', { path: '', message: messageOf(error) });
  }
  if (countMembers(value) !== colons) throw offender(text);
  return value;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decoded(bytes: Uint8Array, limits: JsonLimits): string {
  if (bytes.byteLength > limits.bytesMax) throw tooLarge(limits.bytesMax);
  try {
    return utf8.decode(bytes);
  } catch {
    throw refused('the body is not UTF-8', { path: '', message: 'holds bytes that are not UTF-8' });
  }
}

function bounded(text: string, limits: JsonLimits): string {
  // Every UTF-16 unit takes from one to three bytes; only in between is it worth counting.
  const { length } = text;
  if (length > limits.bytesMax || (length * 3 > limits.bytesMax && byteLength(text) > limits.bytesMax)) {
    throw tooLarge(limits.bytesMax);
  }
  return text;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).byteLength;
}

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/** J1, and the number of members as it is written. Says nothing of whether the text is JSON. */
function countColons(text: string, depthMax: number): number {
  let colons = 0;
  let depth = 0;
  const { length } = text;
  for (let at = 0; at < length; at++) {
    switch (text.charCodeAt(at)) {
      case quote:
        at = endOfString(text, at);
        break;
      case colon:
        colons++;
        break;
      case openBrace:
      case openBracket:
        if (++depth > depthMax) {
          throw refused(`the body is nested deeper than ${depthMax}`, {
            path: '',
            message: `holds more than ${depthMax} objects and arrays within each other`,
          });
        }
        break;
      case closeBrace:
      case closeBracket:
        depth--;
        break;
      default:
    }
  }
  return colons;
}

/** The position of the closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  const { length } = text;
  for (let at = start + 1; at < length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return at;
    if (code === backslash) at++;
  }
  return length;
}

const forbidden = -1;

/** Members in all objects; {@link forbidden} when J3 or J4 is broken. */
function countMembers(value: Json): number {
  if (typeof value === 'number') return Number.isFinite(value) ? 0 : forbidden;
  if (typeof value !== 'object' || value === null) return 0;
  let members = 0;
  if (Array.isArray(value)) {
    for (const item of value as readonly Json[]) {
      const inside = countMembers(item);
      if (inside === forbidden) return forbidden;
      members += inside;
    }
    return members;
  }
  for (const key of Object.keys(value)) {
    const member = (value as Readonly<Record<string, Json>>)[key] ?? null;
    if (isPollution(key, member)) return forbidden;
    const inside = countMembers(member);
    if (inside === forbidden) return forbidden;
    members += inside + 1;
  }
  return members;
}

function isPollution(key: string, member: Json): boolean {
  if (key === '__proto__') return true;
  return (
    key === 'constructor' &&
    typeof member === 'object' &&
    member !== null &&
    Object.hasOwn(member, 'prototype')
  );
}

// ---- the slow path: the text is JSON, and something in it is refused

/** Reads JSON that is known to be well formed, to name the first thing that J2, J3 or J4 refuse. */
function offender(text: string): SettleError {
  let at = 0;
  const space = (): void => {
    while (' \t\n\r'.includes(text.charAt(at)) && at < text.length) at++;
  };
  const token = (): string => {
    const start = at;
    if (text.charCodeAt(at) === quote) at = endOfString(text, at) + 1;
    else while (at < text.length && !',]} \t\n\r'.includes(text.charAt(at))) at++;
    return text.slice(start, at);
  };
  /** Goes past one value; `inside` reads one item or member of it. */
  const list = (close: string, inside: (index: number) => InputIssue | undefined): InputIssue | undefined => {
    at++;
    for (let index = 0; ; index++) {
      space();
      if (text.charAt(at) === close || at >= text.length) break;
      if (text.charAt(at) === ',') at++;
      space();
      const issue = inside(index);
      if (issue !== undefined) return issue;
      space();
    }
    at++;
    return undefined;
  };
  const value = (path: string, owner: string): InputIssue | undefined => {
    space();
    const first = text.charAt(at);
    if (first === '[') return list(']', (index) => value(`${path}/${index}`, ''));
    if (first !== '{') {
      const word = token();
      return Number.isFinite(Number(word)) || !/^-?\d/.test(word)
        ? undefined
        : { path, message: 'is a number too large to be kept' };
    }
    const seen = new Set<string>();
    return list('}', () => {
      const key = JSON.parse(token()) as string;
      const here = path + pointerTo(key);
      if (seen.has(key)) return { path: here, message: 'stands twice in one object' };
      seen.add(key);
      if (key === '__proto__' || (key === 'prototype' && owner === 'constructor'))
        return { path: here, message: 'is not allowed as the name of a member' };
      space();
      at++;
      return value(here, key);
    });
  };
  const issue = value('', '') ?? { path: '', message: 'holds something that is not allowed' };
  return refused(`the body is refused at ${issue.path === '' ? 'its root' : issue.path}`, issue);
}

function refused(what: string, issue: InputIssue): SettleError {
  return new SettleError('invalid_request', what, {
    issues: [issue],
    next: 'Correct the body and send it again',
  });
}

function tooLarge(bytesMax: number): SettleError {
  return new SettleError('body_too_large', `the body is larger than ${bytesMax} bytes`, {
    next: `Send at most ${bytesMax} bytes; keep large data elsewhere and send a reference to it`,
  });
}
