/** Frames kept: those between the caller and us, and one of the caller's. */
const framesMax = 4;

/** Where in the caller's code something was begun, as `at file:line:column`. Its text is made only when it is read. */
export class Place {
  /** Filled in by V8. */
  readonly stack?: string;
  readonly #inBetween: number;

  /** `inBetween`: how many functions of ours lie between the one that makes this, which counts too, and the caller. */
  constructor(inBetween: number) {
    this.#inBetween = inBetween;
    // Fewer frames cost less: every scope remembers its place.
    const before = Error.stackTraceLimit;
    Error.stackTraceLimit = framesMax;
    Error.captureStackTrace(this, Place);
    Error.stackTraceLimit = before;
  }

  toString(): string {
    const frames = (this.stack ?? '').split('\n').slice(1);
    return frames[this.#inBetween]?.trim() ?? 'at an unknown place';
  }
}
