/**
 * What was delivered before and is not acknowledged comes again in its own time, and new messages come in between. Here they all
 * wait for each other, so that none overtakes one that was under way when a consumer died.
 */

interface Sequenced {
  readonly seq: number;
}

export class Recovery<Message extends Sequenced> {
  readonly #deliveredUpTo: number;
  /** Messages, each once. */
  readonly #held = new Map<number, Message>();
  #missing: number;

  /** `missing` messages up to `deliveredUpTo` were delivered and not acknowledged. */
  constructor(deliveredUpTo: number, missing: number) {
    this.#deliveredUpTo = deliveredUpTo;
    this.#missing = missing;
  }

  /** Nothing is to be waited for any more. */
  get isOver(): boolean {
    return this.#missing <= 0;
  }

  /** True when nothing is to be waited for any more. */
  hold(message: Message): boolean {
    if (!this.#held.has(message.seq) && message.seq <= this.#deliveredUpTo) this.#missing--;
    this.#held.set(message.seq, message);
    return this.isOver;
  }

  /** Everything that was held, in the order of the stream. */
  take(): readonly Message[] {
    const messages = [...this.#held.values()].toSorted((a, b) => a.seq - b.seq);
    this.#held.clear();
    this.#missing = 0;
    return messages;
  }
}
