/** Frames kept: those between the caller and us, and one of the caller's. */
const framesMax = 6;

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

/**
 * Remembers places where that is worth its price: looking at the stack is the dearest thing a transaction does here (2 to 6
 * microseconds of about 10). Off, it begins with the first incident whose message would have had a place.
 */
export class Places {
  #isOn: boolean;

  constructor(isOn: boolean) {
    this.#isOn = isOn;
  }

  /** The caller's place, with that many functions of ours in between, which the one that calls this counts among. */
  here(inBetween: number): Place | undefined {
    return this.#isOn ? new Place(inBetween + 1) : undefined;
  }

  /** What a message says about a place. */
  tell(place: Place | undefined): string {
    this.#isOn = true;
    return place?.toString() ?? 'at a place that was not remembered; the next ones are';
  }
}
