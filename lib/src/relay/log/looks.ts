import { onAbort } from '../../util/on-abort.ts';
import type { Wake } from '../wake.ts';

/** What a relay was told, and whether it has looked since: a log is not read on for one that does not. */
export class Looks {
  readonly #tell: Wake;
  #last: Promise<void> = Promise.resolve();

  constructor(tell: Wake) {
    this.#tell = tell;
  }

  readonly wake: Wake = () => {
    this.#last = this.#tell();
    return this.#last;
  };

  /** Resolves when it has looked since it was last told, or the signal aborts. */
  looked(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const forget = onAbort(signal, resolve);
      void this.#last.then(() => {
        forget();
        resolve();
      });
    });
  }
}
