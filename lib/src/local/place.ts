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
    const caller = frames[this.#inBetween];
    // What lies beside us is a way of ours to call it, and not where it was begun.
    const ours = folderOf(frames[0]);
    const beyond = frames.slice(this.#inBetween).find((frame) => !folderOf(frame).startsWith(ours));
    return (beyond ?? caller)?.trim() ?? 'at an unknown place';
  }
}

/** `at name (/folder/file.js:1:2)`, `at async file:///folder/file.js:1:2` */
function folderOf(frame = ''): string {
  return /(?:\(|at (?:async )?)([^()]*[\\/])[^\\/]*:\d+:\d+\)?$/.exec(frame)?.[1] ?? '';
}
