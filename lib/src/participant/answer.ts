import { Refused } from '../define/answers.ts';
import { SettleError } from '../util/errors.ts';
import { isJsonObject, type Json } from '../util/json.ts';

/** The final answer to one operation of one branch, as the barrier keeps it. */
export type Answer =
  | { readonly kind: 'done'; readonly result?: Json }
  | { readonly kind: 'refused'; readonly reason: string };

/** Bytes of one kept answer, as text. */
export const answerBytesMax = 65_536;

/** Throws `limit_exceeded` for an answer larger than {@link answerBytesMax}. */
export function printAnswer(answer: Answer): string {
  const text = JSON.stringify(answer);
  // A UTF-16 unit takes at most three bytes.
  if (text.length * 3 > answerBytesMax && new TextEncoder().encode(text).byteLength > answerBytesMax) {
    throw new SettleError('limit_exceeded', `the answer has more than ${answerBytesMax} bytes`, {
      next: 'Answer with a reference to large data',
    });
  }
  return text;
}

/** Reads what {@link printAnswer} wrote. Throws `barrier_conflict` for anything else: such a row is not ours. */
export function parseAnswer(text: string): Answer {
  const value: unknown = JSON.parse(text);
  if (isJsonObject(value)) {
    const { kind, reason, result } = value;
    if (kind === 'done') return result === undefined ? { kind } : { kind, result };
    if (kind === 'refused' && typeof reason === 'string') return { kind, reason };
  }
  throw new SettleError('barrier_conflict', 'a row of the barrier holds an answer this version cannot read', {
    next: 'Look for what else writes to the table settle_barrier',
  });
}

/** The result of an answer, or the refusal as the error it was. */
export function resultOrRefusal(answer: Answer): Json | undefined {
  if (answer.kind === 'refused') throw new Refused(answer.reason);
  return answer.result;
}
