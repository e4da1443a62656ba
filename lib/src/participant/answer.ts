import { Refused } from '../define/answers.ts';
import { SettleError } from '../util/errors.ts';
import { isJsonObject, type Json } from '../util/json.ts';

/** The final answer to one operation of one branch, as the barrier keeps it. */
export type Answer =
  | { readonly kind: 'done'; readonly result?: Json }
  | { readonly kind: 'refused'; readonly reason: string };

/** What a row says of its operation: the final answer, or that it has begun, by a call that may have died since. */
export type Kept = Answer | { readonly kind: 'begun' };

/** What {@link parseKept} reads as begun. */
export const begunText = JSON.stringify({ kind: 'begun' } satisfies Kept);

/** Bytes of one kept answer, as JSON in UTF-8. */
export const answerBytesMax = 65_536;

/**
 * JSON in ASCII alone, which comes back the same whatever character sets a database, its connections and its columns have.
 * Throws `limit_exceeded` for an answer larger than {@link answerBytesMax}.
 */
export function printAnswer(answer: Answer): string {
  const text = JSON.stringify(answer);
  // A UTF-16 unit takes at most three bytes.
  if (text.length * 3 > answerBytesMax && new TextEncoder().encode(text).byteLength > answerBytesMax) {
    throw new SettleError('limit_exceeded', `the answer has more than ${answerBytesMax} bytes`, {
      next: 'Answer with a reference to large data',
    });
  }
  return text.replaceAll(/[\u007f-\uffff]/g, escaped);
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** Reads what {@link printAnswer} wrote. Throws `barrier_conflict` for anything else. */
export function parseAnswer(text: string): Answer {
  const kept = parseKept(text);
  if (kept.kind !== 'begun') return kept;
  throw unreadable();
}

/** Reads what stands in a row. Throws `barrier_conflict` for anything else: such a row is not ours. */
export function parseKept(text: string): Kept {
  const value = valueIn(text);
  if (isJsonObject(value)) {
    const { kind, reason, result } = value;
    if (kind === 'begun') return { kind };
    if (kind === 'done') return result === undefined ? { kind } : { kind, result };
    if (kind === 'refused' && typeof reason === 'string') return { kind, reason };
  }
  throw unreadable();
}

function valueIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw unreadable();
  }
}

function unreadable(): SettleError {
  return new SettleError(
    'barrier_conflict',
    'a row of the barrier holds an answer this version cannot read',
    {
      next: 'Look for what else writes to the table settle_barrier',
    },
  );
}

/** The result of an answer, or the refusal as the error it was. */
export function resultOrRefusal(answer: Answer): Json | undefined {
  if (answer.kind === 'refused') throw new Refused(answer.reason);
  return answer.result;
}
