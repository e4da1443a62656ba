/**
 * Tells relays of other processes that there are new messages, after the commit and apart from it: a NOTIFY inside the
 * writers' transactions takes a lock of the whole database at each commit (32 writers: 12,500 commits a second without,
 * 3,700 with it).
 */
import { messageOf } from '../../util/errors.ts';
import { defaultChannel, refuseChannel } from './notify.ts';
import { pause } from './pause.ts';

/** The part of an outbox that is used. */
export interface CommittingOutbox {
  /** Calls back after each commit that wrote messages; gives back what ends that. */
  onCommitted(listener: () => void): () => void;
}

/** A Pool or a connected Client of pg. */
export interface PgNotifier {
  query(text: string, values: string[]): Promise<unknown>;
}

/** `sql` of postgres.js. */
export interface PostgresJsNotifier {
  notify(channel: string, payload: string): PromiseLike<unknown>;
}

export interface NotifyOnCommitOptions {
  /** Default `settle_outbox`; the same as that of `notifyWake`. */
  readonly channel?: string;
  /** At most one NOTIFY in so many milliseconds, however many commits there are. Default 10. */
  readonly coalesceMs?: number;
  /** Default: a warning of the process. */
  readonly warn?: (error: Error) => void;
}

/**
 * Sends a NOTIFY after commits that wrote messages: at once after the first, then at most every `coalesceMs`. Gives back what
 * ends it, and waits for the last one.
 *
 * It is sent with what the function gives, never in the transaction: hand in the plain pool, not a handle that follows the
 * current transaction. One is under way at a time, so that it takes one connection at most. What fails is only warned of:
 * the relay's poll finds the messages.
 *
 * ```ts
 * const stop = notifyOnCommit(outbox, () => pool);
 * ```
 */
export function notifyOnCommit(
  outbox: CommittingOutbox,
  notifier: () => PgNotifier | PostgresJsNotifier,
  options: NotifyOnCommitOptions = {},
): () => Promise<void> {
  const { channel = defaultChannel, coalesceMs = 10, warn = warnOfProcess } = options;
  refuseChannel(channel);
  const stopping = new AbortController();
  let isDue = false;
  let changed = Promise.withResolvers<void>();

  // One loop from here on, and not a call from within the listener: it must not run in the context of a transaction.
  async function run(): Promise<void> {
    for (;;) {
      if (!isDue && stopping.signal.aborted) return;
      if (!isDue) await changed.promise;
      changed = Promise.withResolvers();
      if (!isDue) continue;
      isDue = false;
      await send(notifier, channel).catch((cause: unknown) => {
        const what = `NOTIFY ${channel} failed, and relays find the messages by polling: ${messageOf(cause)}`;
        warn(new Error(what, { cause }));
      });
      await pause(coalesceMs, stopping.signal);
    }
  }

  const running = run();
  const forget = outbox.onCommitted(() => {
    isDue = true;
    changed.resolve();
  });
  return () => {
    forget();
    stopping.abort();
    changed.resolve();
    return running;
  };
}

async function send(notifier: () => PgNotifier | PostgresJsNotifier, channel: string): Promise<void> {
  const by = notifier();
  if ('notify' in by) await by.notify(channel, '');
  else await by.query('select pg_notify($1, $2)', [channel, '']);
}

function warnOfProcess(error: Error): void {
  process.emitWarning(error);
}
