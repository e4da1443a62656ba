import { messageOf } from '../util/errors.ts';
import type { Clock, Observer } from './ports.ts';

/** Something done again and again, never twice at once. */
export interface Periodic {
  /** Do it now, or right after what is under way. */
  nudge(): void;
  /** Resolves when what is under way has ended; nothing starts after it. */
  stop(): Promise<void>;
}

/** Runs the task now, and again `everyMs` after it ended, or at once when it says so. A failure is the task's to report. */
export function periodic(clock: Clock, everyMs: number, task: () => Promise<'again' | 'later'>): Periodic {
  let cancel: (() => void) | undefined;
  let running: Promise<void> | undefined;
  let nudged = false;
  let stopped = false;

  const run = (): void => {
    cancel = undefined;
    nudged = false;
    running = task().then((then) => {
      running = undefined;
      if (stopped) return;
      if (then === 'again' || nudged) run();
      else cancel = clock.schedule(everyMs, run);
    });
  };

  run();
  return {
    nudge() {
      if (stopped) return;
      if (running !== undefined) nudged = true;
      else if (cancel !== undefined) {
        cancel();
        run();
      }
    },
    async stop() {
      stopped = true;
      cancel?.();
      await running;
    },
  };
}

/** Background work never fails loudly: it says so and comes again. */
export async function guarded(
  observe: Observer,
  what: string,
  work: () => Promise<'again' | 'later'>,
): Promise<'again' | 'later'> {
  try {
    return await work();
  } catch (error) {
    const message = `${what} failed: ${messageOf(error)}`;
    observe({ kind: 'alarm', code: 'store_unavailable', message });
    return 'later';
  }
}
