/** One connection that is kept open for as long as a signal lets it: what sources of wake-ups have in common. */
import { isSettleError, messageOf } from '../../util/errors.ts';
import { onAbort } from '../../util/on-abort.ts';
import type { WakeContext } from '../wake.ts';
import { pause } from './pause.ts';

/** A connection that is open. */
export interface Session {
  /** Resolves with why it ended. Nobody asks after `close`. */
  readonly ended: Promise<Error>;
  /** Must not throw, nor wait for a server that says nothing. */
  close(): void;
}

/** The pause after the nth failure in a row is a random part of minMs * 2^(n-1), at most maxMs. */
export interface Backoff {
  readonly minMs: number;
  readonly maxMs: number;
}

export const defaultBackoff: Backoff = { minMs: 100, maxMs: 5_000 };

export interface KeepOpenOptions extends WakeContext {
  /** For messages: `LISTEN settle_outbox`. */
  readonly what: string;
  readonly backoff: Backoff;
  open(): Promise<Session>;
}

/**
 * Opens a session, and another one whenever it ended. Resolves when the first is open, or could not be opened and is tried
 * again in the background. Rejects where the first says `config_invalid`: trying again will not help.
 */
export async function keepOpen(options: KeepOpenOptions): Promise<void> {
  const { signal } = options;
  if (signal.aborted) return;
  let first: Session | undefined;
  try {
    first = await options.open();
  } catch (error) {
    if (isSettleError(error) && error.code === 'config_invalid') throw error;
    tell(options, 'could not be opened', error);
  }
  void keep(options, first);
}

async function keep(options: KeepOpenOptions, first: Session | undefined): Promise<void> {
  let failures = 0;
  let session = first ?? (await openAgain(options, failures));
  while (session !== undefined) {
    const openedMs = performance.now();
    const why = await endOf(session, options.signal);
    session.close();
    if (why === undefined) return;
    tell(options, 'was lost', why);
    // One that ends as soon as it is open is no better than one that does not open.
    failures = performance.now() - openedMs < options.backoff.maxMs ? failures + 1 : 0;
    session = await openAgain(options, failures);
  }
}

/** Undefined: the signal aborted. */
async function openAgain(options: KeepOpenOptions, failed: number): Promise<Session | undefined> {
  const { minMs, maxMs } = options.backoff;
  for (let failures = failed; ; failures++) {
    const hasPassed = await pause(Math.random() * Math.min(maxMs, minMs * 2 ** failures), options.signal);
    if (!hasPassed) return undefined;
    try {
      return await options.open();
    } catch (error) {
      tell(options, 'could not be opened again', error);
    }
  }
}

/** Undefined: the signal aborted. */
function endOf(session: Session, signal: AbortSignal): Promise<Error | undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const forget = onAbort(signal, () => resolve(undefined));
    void session.ended.then((why) => {
      forget();
      resolve(why);
    });
  });
}

function tell({ what, warn, signal }: KeepOpenOptions, how: string, cause: unknown): void {
  if (signal.aborted) return;
  warn(new Error(`${what} ${how}, and is tried again: ${messageOf(cause)}`, { cause }));
}
