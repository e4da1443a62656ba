/** Stops at once when what must be true is not: a failed assertion is a defect of ours, never of the input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Makes a `switch` exhaustive at compile time, and loud at run time when foreign data slipped through. */
export function unreachable(value: never, what: string): never {
  throw new AssertionError(`${what}: ${JSON.stringify(value)}`);
}

export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}
