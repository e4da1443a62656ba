import { messageOf } from '../util/errors.ts';
import type { Clock } from './clock.ts';

/** What the promise comes to, or the error of `late` after that many milliseconds. What comes later goes to `afterwards`. */
export function inTime<T>(
  promise: PromiseLike<T>,
  ms: number,
  clock: Clock,
  late: () => Error,
  afterwards: (value: T) => void = () => {},
): Promise<T> {
  return new Promise((resolve, reject) => {
    let isLate = false;
    const forget = clock.schedule(Math.max(0, ms), () => {
      isLate = true;
      reject(late());
    });
    promise.then(
      (value) => {
        forget();
        if (isLate) afterwards(value);
        else resolve(value);
      },
      (error: unknown) => {
        forget();
        reject(error instanceof Error ? error : new Error(messageOf(error), { cause: error }));
      },
    );
  });
}
