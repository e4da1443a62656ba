import { messageOf } from '../util/errors.ts';
import type { Timers } from './timers.ts';

/** What the promise comes to, or the error of `late` after that many milliseconds. What comes later goes to `afterwards`. */
export function inTime<T>(
  promise: PromiseLike<T>,
  ms: number,
  timers: Timers,
  late: () => Error,
  afterwards: (value: T) => void = () => {},
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = timers.set(Math.max(0, ms), () => {
      isLate = true;
      reject(late());
    });
    promise.then(
      (value) => {
        timers.forget(timer);
        if (isLate) afterwards(value);
        else resolve(value);
      },
      (error: unknown) => {
        timers.forget(timer);
        reject(error instanceof Error ? error : new Error(messageOf(error), { cause: error }));
      },
    );
  });
}
