import type { Handled, HandleMessage, IncomingMessage } from '../../lib/src/consumer/incoming.ts';

export const handled: Handled = { kind: 'handled', duplicate: false };

/** What a handler is asked to do, answered when the test says so. */
export class Desk {
  /** What was begun with, in this order. */
  readonly seen: IncomingMessage[] = [];
  readonly #answers: ((handled: Handled) => void)[] = [];
  #waiting: (() => void)[] = [];

  readonly handle: HandleMessage = (message) => {
    this.seen.push(message);
    const { promise, resolve } = Promise.withResolvers<Handled>();
    this.#answers.push(resolve);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
    return promise;
  };

  /** The ids of what was begun with, as soon as there are so many. */
  async begun(count: number): Promise<readonly string[]> {
    while (this.seen.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.seen.map(({ id }) => id);
  }

  /** By the order in which they were begun, from 0 on. */
  answer(number: number, answer: Handled = handled): void {
    this.#answers[number]?.(answer);
  }
}

/** Of ids like `key#7`, as they were first seen: the first that comes before a smaller one of its key. */
export function firstOutOfOrder(ids: ReadonlySet<string>): string | undefined {
  const last = new Map<string, number>();
  for (const id of ids) {
    const [key = '', number] = id.split('#');
    if (Number(number) < (last.get(key) ?? -1)) return id;
    last.set(key, Number(number));
  }
  return undefined;
}
