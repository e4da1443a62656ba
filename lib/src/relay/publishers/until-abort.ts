import { onAbort } from '../../util/on-abort.ts';

/** What the promise fulfils with, or `aborted` as soon as the signal aborts; then nobody learns how the promise ended. */
export function untilAbort<Value, Aborted>(
  promise: Promise<Value>,
  signal: AbortSignal,
  aborted: Aborted,
): Promise<Value | Aborted> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      promise.catch(() => undefined);
      return resolve(aborted);
    }
    const forget = onAbort(signal, () => resolve(aborted));
    promise.then(resolve, reject).finally(forget);
  });
}
