import { onAbort } from '../../util/on-abort.ts';
import type { HandleMessage, IncomingMessage } from '../incoming.ts';
import { handleSafely } from '../keep-consuming.ts';

/** Milliseconds between two tries of a message that could not be handled. */
const retryMs = { min: 200, max: 10_000 };

export interface Tries {
  /** Of the work itself. */
  readonly signal: AbortSignal;
  /** It is time to stop: no other try. */
  readonly stopping: AbortSignal;
  /** Asked before each try. */
  readonly isWanted: () => boolean;
  readonly tell: (error: Error) => void;
}

/**
 * Handles a message, and tries again where it is: given back to the broker it would be overtaken by those behind it. False when
 * it was stopped, or is not wanted any more.
 */
export async function untilHandled(
  handle: HandleMessage,
  message: IncomingMessage,
  { signal, stopping, isWanted, tell }: Tries,
): Promise<boolean> {
  for (let failures = 1; isWanted() && !stopping.aborted; failures++) {
    const handled = await handleSafely(handle, message, signal);
    if (handled.kind !== 'not-handled') return true;
    if (signal.aborted) return false;
    tell(new Error(`${message.ref} was not handled, and is tried again: ${handled.reason}`));
    const ceiling = Math.min(retryMs.max, retryMs.min * 2 ** Math.min(failures - 1, 30));
    await pause(ceiling * (0.5 + 0.5 * Math.random()), stopping);
  }
  return false;
}

/** Ends at once when it is time to stop. */
async function pause(ms: number, stopping: AbortSignal): Promise<void> {
  if (stopping.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const forget = onAbort(stopping, resolve);
  await promise;
  clearTimeout(timer);
  forget();
}
