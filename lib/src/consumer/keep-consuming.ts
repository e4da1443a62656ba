/**
 * Consuming over a connection that may end: session after session, with a pause between them, until it is stopped.
 *
 * What is at work outlives a session: its end waits for it, so that the next one does not meet its messages again.
 */
import { messageOf } from '../util/errors.ts';
import type { Handled, HandleMessage, IncomingMessage, RunningConsumer } from './incoming.ts';
import { drainTimeoutMsDefault } from './keyed-queue.ts';

/** Consuming over one connection. */
export interface Session {
  /** Resolves when it cannot go on, with why. Never rejects. */
  readonly over: Promise<Error>;
  /** Takes no more, waits so long for what is at work, acknowledges that, and gives the rest back. Never rejects. */
  end(timeoutMs: number): Promise<void>;
}

export interface ReconnectOptions {
  /** The first pause before another connection, and the longest; with full jitter. Default: 200 and 30,000. */
  readonly reconnectMs?: { readonly min: number; readonly max: number };
  /** Told why a session has ended, or could not begin; the next one follows. Default: `console.error`. */
  readonly onDisconnect?: (error: Error) => void;
}

/**
 * Begins at once. `opensOnce`: over a connection that was handed in and cannot be opened again; then what breaks it rejects
 * `ended`.
 */
export function keepConsuming(
  open: (signal: AbortSignal) => Promise<Session>,
  options: ReconnectOptions & { readonly opensOnce: boolean },
): RunningConsumer {
  const { opensOnce, reconnectMs: { min, max } = { min: 200, max: 30_000 } } = options;
  const { onDisconnect = (error) => console.error('settle: a consumer was disconnected:', error) } = options;
  const stopping = new AbortController();
  const stopped = new Promise<undefined>((resolve) => {
    stopping.signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  const isStopping = (): boolean => stopping.signal.aborted;
  let stopTimeoutMs = drainTimeoutMsDefault;
  let opened = 0;

  /** Resolves with what ended it; with nothing when it was stopped. */
  async function oneSession(): Promise<Error | undefined> {
    let session: Session | undefined;
    try {
      const opening = open(stopping.signal);
      session = await Promise.race([opening, stopped]);
      // It opens for nobody: what becomes of it, or keeps it from opening, is nobody's matter any more.
      if (session === undefined) void opening.then((late) => late.end(0)).catch(() => undefined);
    } catch (error) {
      return asError(error);
    }
    if (session === undefined) return undefined;
    opened++;
    const why = await Promise.race([session.over, stopped]);
    await session.end(why === undefined ? stopTimeoutMs : drainTimeoutMsDefault);
    return why;
  }

  async function run(): Promise<void> {
    for (let failures = 1; !isStopping(); failures++) {
      const before = opened;
      const why = await oneSession();
      if (why === undefined || isStopping()) return;
      if (opensOnce) throw why;
      onDisconnect(why);
      if (opened > before) failures = 1;
      const ceiling = Math.min(max, min * 2 ** Math.min(failures - 1, 40));
      await pause(ceiling * (0.1 + 0.9 * Math.random()), stopped);
    }
  }

  const ended = run();
  // Whoever wants to know listens to `ended`, which is handed out as it is; nobody has to.
  ended.catch(() => undefined);
  return {
    ended,
    async stop(timeoutMs = drainTimeoutMsDefault) {
      stopTimeoutMs = timeoutMs;
      stopping.abort();
      // `ended` tells what broke it; a stop only waits.
      await ended.catch(() => undefined);
    },
  };
}

/** A handler never rejects; one that does all the same has not handled the message. */
export async function handleSafely(
  handle: HandleMessage,
  message: IncomingMessage,
  signal: AbortSignal,
): Promise<Handled> {
  try {
    return await handle(message, signal);
  } catch (error) {
    return { kind: 'not-handled', reason: messageOf(error) };
  }
}

/** Keeps the process alive: a consumer may be all that it does. */
async function pause(ms: number, stopped: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([over, stopped]);
  clearTimeout(timer);
}

/** Ends with the promise, however that ends, or after that time: a connection that hangs does not answer to its closing either. */
export async function endedWithin(ms: number, ending: Promise<unknown>): Promise<void> {
  // A connection that fails while it is closed is closed.
  await pause(
    ms,
    ending.catch(() => undefined),
  );
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(messageOf(error));
}
