/** What tells a relay to look now instead of at its next poll. A lost wake-up costs time, never a message. */
export interface WakeSource {
  readonly name: string;
  /**
   * Begins to call `wake`, until the signal aborts; resolves once it listens. Rejects only for what will never work; what
   * breaks later mends itself, and is told to `warn`.
   */
  start(wake: Wake, context: WakeContext): Promise<void>;
}

/**
 * Tells the relay to look. Resolves once every lane it holds was read after the call, or is known to hold more than was read;
 * never rejects, and stays open when the relay stops before. Sources that keep a position in a log move it only then.
 */
export type Wake = () => Promise<void>;

export interface WakeContext {
  readonly signal: AbortSignal;
  readonly warn: (error: Error) => void;
}
