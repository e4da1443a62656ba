/** One call of a publisher: whatever it does, there is one answer for each message, and in time. */
import { messageOf } from '../util/errors.ts';
import type { RelayClock } from './clock.ts';
import type { OutgoingMessage, Publisher, PublishResult } from './publisher.ts';

export interface PublishCall {
  readonly publisher: Publisher;
  readonly messages: readonly OutgoingMessage[];
  /** Ends the call. */
  readonly flight: AbortController;
  readonly timeoutMs: number;
  readonly clock: RelayClock;
  /** The publisher did not keep to its port. */
  readonly broken: (error: Error) => void;
}

/** How long a publisher may go on after its signal, before nothing is known of its messages. */
const abortGraceMs = 1_000;
/** A destination that asks for more is tried once a day all the same. */
const retryAfterMaxMs = 24 * 3_600_000;

/** Never rejects. Of messages of which the publisher did not say anything that is valid, nothing is known. */
export async function publishCall(call: PublishCall): Promise<readonly PublishResult[]> {
  const { publisher, messages, flight, timeoutMs, clock, broken } = call;
  let forget: (() => void) | undefined;
  const isOver = new Promise<readonly PublishResult[]>((resolve) => {
    const end = (): void => {
      forget?.();
      forget = clock.schedule(abortGraceMs, () =>
        resolve(messages.map(() => unknown('the publisher did not end in time'))),
      );
    };
    flight.signal.addEventListener('abort', end);
    forget = clock.schedule(timeoutMs, () => flight.abort());
  });
  try {
    const answer: unknown = await Promise.race([publisher.publish(messages, flight.signal), isOver]);
    const answers = Array.isArray(answer) && answer.length === messages.length ? answer : [];
    const results = messages.map((_, i) => resultOf(answers[i]));
    const wrong = results.findIndex((result) => result === undefined);
    if (wrong !== -1) broken(new Error(`${publisher.name} ${whatIsWrong(answer, messages.length, wrong)}`));
    return results.map((result) => result ?? unknown('the publisher did not say what became of it'));
  } catch (error) {
    return messages.map(() => unknown(messageOf(error)));
  } finally {
    forget?.();
  }
}

function unknown(reason: string): PublishResult {
  return { kind: 'unknown', reason };
}

function whatIsWrong(answer: unknown, count: number, at: number): string {
  if (!Array.isArray(answer)) return `gave no list of results for ${count} messages`;
  if (answer.length !== count) return `gave ${answer.length} results for ${count} messages`;
  return `gave a result that no publisher can give, for message ${at + 1} of ${count}`;
}

/** Publishers may be of any language and age: undefined where it is not one of the port's. */
function resultOf(answer: unknown): PublishResult | undefined {
  if (typeof answer !== 'object' || answer === null || !('kind' in answer)) return undefined;
  const { kind } = answer;
  if (kind === 'published') return { kind, duplicate: 'duplicate' in answer && answer.duplicate === true };
  const reason = 'reason' in answer && typeof answer.reason === 'string' ? answer.reason : undefined;
  if (reason === undefined) return undefined;
  if (kind === 'retriable' || kind === 'unknown' || kind === 'poison') return { kind, reason };
  if (kind !== 'unavailable') return undefined;
  const wish = 'retryAfterMs' in answer ? Number(answer.retryAfterMs) : 0;
  return { kind, reason, retryAfterMs: Math.min(Math.max(wish || 0, 0), retryAfterMaxMs) };
}
