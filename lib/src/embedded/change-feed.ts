/** What the engine tells its observer of transactions, handed to whoever follows `events()` in this process. */
import type { TransactionChange } from '../client/index.ts';
import type { ChangeQuery } from '../client/transport.ts';
import type { EngineEvent } from '../observe/events.ts';
import { SettleError } from '../util/errors.ts';

/** Changes that wait for one slow follower; beyond it, it is told that it missed some. */
export const changesWaitingMax = 10_000;

export interface ChangeFeed {
  observe(event: EngineEvent): void;
  follow(query: ChangeQuery, signal: AbortSignal | undefined): AsyncIterable<TransactionChange>;
  /** Tells every follower why there will be no more. */
  end(why: string): void;
}

export function changeFeed(): ChangeFeed {
  const followers = new Set<Follower>();
  return {
    observe(event) {
      if (event.kind === 'transaction')
        for (const follower of followers) if (!follower.tell(event)) followers.delete(follower);
    },
    follow(query, signal) {
      const follower = new Follower(query, signal);
      followers.add(follower);
      return follower.changes(() => followers.delete(follower));
    },
    end(why) {
      for (const follower of followers) follower.end(why);
    },
  };
}

class Follower {
  readonly #query: ChangeQuery;
  readonly #signal: AbortSignal | undefined;
  readonly #waiting: TransactionChange[] = [];
  #ended: string | undefined;
  #wake: () => void = () => undefined;

  constructor(query: ChangeQuery, signal: AbortSignal | undefined) {
    this.#query = query;
    this.#signal = signal;
  }

  /** False when it has fallen behind and will be told nothing more. */
  tell(change: TransactionChange): boolean {
    const { gid, status } = this.#query;
    const wanted =
      (gid === undefined || gid === change.gid) && (status === undefined || status.includes(change.status));
    if (!wanted) return true;
    if (this.#waiting.length >= changesWaitingMax) {
      this.end('this reader was too slow');
      return false;
    }
    this.#waiting.push(change);
    this.#wake();
    return true;
  }

  end(why: string): void {
    this.#ended ??= why;
    this.#wake();
  }

  async *changes(left: () => void): AsyncGenerator<TransactionChange> {
    const wake = (): void => this.#wake();
    this.#signal?.addEventListener('abort', wake, { once: true });
    try {
      while (this.#signal?.aborted !== true) {
        yield* this.#waiting.splice(0);
        if (this.#waiting.length > 0) continue;
        if (this.#ended !== undefined) throw missed(this.#ended);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          if (this.#signal?.aborted === true) resolve();
        });
      }
    } finally {
      this.#signal?.removeEventListener('abort', wake);
      left();
    }
  }
}

function missed(why: string): SettleError {
  return new SettleError('unavailable', `changes may have been missed: ${why}`, {
    next: 'List what you need to know, then follow again',
  });
}
