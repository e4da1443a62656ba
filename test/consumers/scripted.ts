import type { Handled, HandleMessage, IncomingMessage } from '../../lib/src/consumer/incoming.ts';

export interface Begun {
  readonly message: IncomingMessage;
  readonly end: (handled: Handled) => void;
}

/** A handler whose ends a test decides. */
export class Scripted {
  /** Ids, as they began. */
  readonly order: string[] = [];
  readonly #begun: Begun[] = [];
  #listeners: (() => void)[] = [];

  readonly handle: HandleMessage = (message, signal) =>
    new Promise((resolve) => {
      this.order.push(message.id);
      const stop = (): void => resolve({ kind: 'not-handled', reason: 'stopped' });
      signal.addEventListener('abort', stop, { once: true });
      this.#begun.push({ message, end: resolve });
      const listeners = this.#listeners;
      this.#listeners = [];
      for (const listener of listeners) listener();
    });

  /** The message of that id, once it is at work; each call of the handler is given out once. */
  begun(id: string): Promise<Begun> {
    return this.#first((message) => message.id === id);
  }

  /** Whichever is at work next. */
  next(): Promise<Begun> {
    return this.#first(() => true);
  }

  async #first(isIt: (message: IncomingMessage) => boolean): Promise<Begun> {
    for (;;) {
      const place = this.#begun.findIndex(({ message }) => isIt(message));
      const [found] = place === -1 ? [] : this.#begun.splice(place, 1);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#listeners.push(resolve));
    }
  }
}
