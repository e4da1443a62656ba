/** The result of the work on a message, as it is kept for its duplicates. */
import { messageOf, SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';

/** What work may give back. */
export type KeptResult = Json | undefined | void;

/** Bytes of a result as it is stored: JSON, in ASCII. */
export const resultBytesMax = 65_536;

/** Undefined for none. Throws `limit_exceeded` for one that is too long, `invalid_request` for what JSON has no way to say. */
export function storedResult(result: unknown): string | undefined {
  const text = jsonOf(result);
  if (text === undefined) return undefined;
  const stored = asciiJson(text);
  if (stored.length <= resultBytesMax) return stored;
  throw new SettleError(
    'limit_exceeded',
    `the result has ${stored.length} bytes, more than ${resultBytesMax}`,
    {
      next: 'Give back what duplicates need, or nothing, and keep the rest in a table of your own',
    },
  );
}

/** JSON that means the same, in characters that every connection hands on unchanged. */
export function asciiJson(json: string): string {
  return json.replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function jsonOf(result: unknown): string | undefined {
  try {
    return JSON.stringify(result);
  } catch (cause) {
    throw new SettleError('invalid_request', `the result is no JSON: ${messageOf(cause)}`, {
      next: 'Give back JSON, or nothing',
      cause,
    });
  }
}
