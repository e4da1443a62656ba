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
  #ending: Handled | undefined;

  readonly handle: HandleMessage = (message, signal) =>
    new Promise((resolve) => {
      this.order.push(message.id);
      const stop = (): void => resolve({ kind: 'not-handled', reason: 'stopped' });
      signal.addEventListener('abort', stop, { once: true });
      this.#begun.push({ message, end: resolve });
      if (this.#ending !== undefined) resolve(this.#ending);
      const listeners = this.#listeners;
      this.#listeners = [];
      for (const listener of listeners) listener();
    });

  /** Ends all that is at work and all that comes. */
  endAll(handled: Handled): void {
    this.#ending = handled;
    for (const { end } of this.#begun) end(handled);
  }

  /** The message of that id, once it is at work; each call of the handler is given out once. */
  async begun(id: string): Promise<Begun> {
    for (;;) {
      const place = this.#begun.findIndex(({ message }) => message.id === id);
      const [found] = place === -1 ? [] : this.#begun.splice(place, 1);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#listeners.push(resolve));
    }
  }
}
