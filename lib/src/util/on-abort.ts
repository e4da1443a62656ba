import { LinkedSet } from './linked-set.ts';

type Callbacks = LinkedSet<() => void>;

const waiting = new WeakMap<AbortSignal, Callbacks>();

/**
 * Calls back once when the signal, which has not aborted yet, does. Returns what forgets the callback.
 *
 * One listener per signal serves all: thousands of calls share their owner's signal, and EventTarget walks its whole list
 * of listeners for each one added.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const callbacks = waiting.get(signal) ?? listen(signal);
  const place = callbacks.add(callback);
  return () => callbacks.remove(place);
}

function listen(signal: AbortSignal): Callbacks {
  const callbacks: Callbacks = new LinkedSet();
  waiting.set(signal, callbacks);
  const fire = (): void => {
    // One that an earlier one of them forgets is not called any more.
    for (let callback = callbacks.removeLast(); callback !== undefined; callback = callbacks.removeLast())
      callback();
  };
  signal.addEventListener('abort', fire, { once: true });
  return callbacks;
}
