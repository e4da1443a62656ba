/** What tells a relay to look now instead of at its next poll. A lost wake-up costs time, never a message. */
export interface WakeSource {
  readonly name: string;
  /**
   * Begins to call `wake`, until the signal aborts; resolves once it listens. Rejects only for what will never work; what
   * breaks later mends itself, and is told to `warn`.
   */
  start(wake: () => void, context: { readonly signal: AbortSignal; readonly warn: (error: Error) => void }): Promise<void>;
}
