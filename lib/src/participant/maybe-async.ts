/**
 * Lets one piece of code serve drivers that answer at once and drivers that answer later: a generator that yields only
 * the promises it meets. As long as it meets none, it runs to its end without giving up the turn.
 */
export type MaybePromise<T> = T | PromiseLike<T>;

/** The value, waited for when it is a promise: `const row = yield* settled(t.find(key))`. */
export function* settled<T>(value: MaybePromise<T>): Generator<PromiseLike<unknown>, T, unknown> {
  // What comes back for a promise is what it was fulfilled with.
  return isPromiseLike(value) ? ((yield value) as T) : value;
}

/** Runs it: the plain result when every step answered at once, a promise otherwise. Throws or rejects with its error. */
export function drive<T>(steps: Generator<PromiseLike<unknown>, T, unknown>): MaybePromise<T> {
  const first = steps.next();
  return first.done === true ? first.value : driveOn(steps, first.value);
}

async function driveOn<T>(
  steps: Generator<PromiseLike<unknown>, T, unknown>,
  first: PromiseLike<unknown>,
): Promise<T> {
  let waitFor = first;
  for (;;) {
    const next = await waitFor.then(
      (value) => steps.next(value),
      (error: unknown) => steps.throw(error),
    );
    if (next.done === true) return next.value;
    waitFor = next.value;
  }
}

export function isPromiseLike<T>(value: MaybePromise<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
