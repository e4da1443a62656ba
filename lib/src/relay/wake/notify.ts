/**
 * Wake-ups by PostgreSQL's LISTEN, on a connection of their own.
 *
 * - N1 Whatever was committed while nobody listened is looked for: every connection begins with a wake-up.
 * - N2 A connection that breaks is replaced; one that says nothing is asked, and counts as broken when it does not answer.
 * - N3 That notifications arrive is tried once per connection, from a second one: a pooler of transactions takes the LISTEN
 *   and loses what comes for it.
 */
import { SettleError } from '../../util/errors.ts';
import type { WakeContext, WakeSource } from '../wake.ts';
import { type Backoff, defaultBackoff, keepOpen, type Session } from './keep-open.ts';
import { pause, within } from './pause.ts';

/** The part of a Client of `pg` that is used. */
export interface PgListenClient {
  connect(): Promise<unknown>;
  query(text: string): Promise<{ readonly rows: readonly unknown[] }>;
  end(): Promise<void>;
  on(event: 'notification', listener: (message: { readonly payload?: string | undefined }) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  /** What the server says its process is, or what a pooler says instead. */
  readonly processID?: number | null;
  /** To give up on a server that does not answer. */
  readonly connection?: { readonly stream: { destroy(): unknown } };
}

/** The part of `sql` of postgres.js that is used; it reconnects by itself. */
export interface PostgresJsListener {
  listen(
    channel: string,
    onNotify: (payload: string) => void,
    onListen?: () => void,
  ): Promise<{ readonly unlisten: () => Promise<void> }>;
  notify(channel: string, payload: string): PromiseLike<unknown>;
}

export interface NotifyWakeOptions {
  /** Default `settle_outbox`; the same as that of `notifyOnCommit`. */
  readonly channel?: string;
  /** Milliseconds that connecting, and each answer, may take. Default 10,000. */
  readonly answerMs?: number;
  /** Milliseconds between two questions whether the connection is alive. Default 30,000. */
  readonly aliveMs?: number;
  /** Default: a random part of 100 ms, doubling up to 5 s. */
  readonly backoff?: Backoff;
}

export const defaultChannel = 'settle_outbox';

/**
 * Wakes a relay whenever a process that uses `notifyOnCommit` has committed messages.
 *
 * Takes a function that makes a new, unconnected Client of pg, whose connections are then ours: the one that listens, and for
 * a moment a second one. Or `sql` of postgres.js, which keeps a connection for it. It must lead to the primary, and not
 * through a pooler of transactions (PgBouncer's `pool_mode = transaction`): with pg that is found out, and `start` rejects with
 * `config_invalid`; with postgres.js it is warned of. That a network has gone silent is found out by asking (`aliveMs`), with
 * postgres.js by its `keep_alive`.
 *
 * A lost connection costs wake-ups, never messages: the relay's poll finds them.
 *
 * ```ts
 * createRelay({ store, publishers, wake: [notifyWake(() => new Client(url))] });
 * ```
 */
export function notifyWake(
  source: (() => PgListenClient) | PostgresJsListener,
  options: NotifyWakeOptions = {},
): WakeSource {
  const { channel = defaultChannel, answerMs = 10_000, aliveMs = 30_000, backoff = defaultBackoff } = options;
  refuseChannel(channel);
  return {
    name: 'notify',
    async start(wake, context) {
      const notified = coalesced(() => void wake());
      const how = { channel, answerMs, aliveMs, notified };
      const open = (): Promise<Session> =>
        isPostgresJs(source) ? listenWithPostgresJs(source, how, context) : listen(source, how);
      await keepOpen({ ...context, what: `LISTEN ${channel}`, backoff, open });
    },
  };
}

interface Listening {
  readonly channel: string;
  readonly answerMs: number;
  readonly aliveMs: number;
  readonly notified: () => void;
}

async function listen(connect: () => PgListenClient, how: Listening): Promise<Session> {
  const { channel, answerMs, aliveMs, notified } = how;
  const client = connect();
  const session = new PgSession(client);
  const probe = newProbe();
  const arrived = Promise.withResolvers<void>();
  client.on('notification', ({ payload }) => {
    if (payload === probe) arrived.resolve();
    else if (!isProbe(payload)) notified();
  });
  try {
    await within(answerMs, 'connecting', client.connect());
    await within(answerMs, 'LISTEN', client.query(`listen "${channel}"`));
    await notifyFromElsewhere(connect, `select pg_notify('${channel}', '${probe}')`, answerMs);
    await within(answerMs, 'a notification of ours', arrived.promise).catch((cause: unknown) =>
      refusePooler(client, answerMs, cause),
    );
  } catch (error) {
    session.close();
    throw error;
  }
  session.ask(aliveMs, answerMs);
  notified();
  return session;
}

async function notifyFromElsewhere(
  connect: () => PgListenClient,
  statement: string,
  answerMs: number,
): Promise<void> {
  const client = connect();
  const session = new PgSession(client);
  try {
    await within(answerMs, 'connecting', client.connect());
    await within(answerMs, 'NOTIFY', client.query(statement));
  } finally {
    session.close();
  }
}

/** Poolers hand out process ids of their own. */
async function refusePooler(client: PgListenClient, answerMs: number, cause: unknown): Promise<never> {
  const { rows } = await within(answerMs, 'the question', client.query('select pg_backend_pid() as pid'));
  const [row] = rows;
  const pid = typeof row === 'object' && row !== null && 'pid' in row ? row.pid : undefined;
  if (client.processID === undefined || client.processID === null || pid === client.processID) throw cause;
  throw new SettleError(
    'config_invalid',
    'notifications do not come through the pooler we are connected to',
    {
      next:
        'Hand in connections that lead to the server itself, or to a pooler of sessions; or leave notifyWake out, and the ' +
        'relay polls',
      cause,
    },
  );
}

class PgSession implements Session {
  readonly ended: Promise<Error>;
  readonly #client: PgListenClient;
  readonly #end: (why: Error) => void;
  readonly #closing = new AbortController();

  constructor(client: PgListenClient) {
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.ended = promise;
    this.#end = resolve;
    this.#client = client;
    client.on('error', resolve);
    client.on('end', () => resolve(new Error('the server ended the connection')));
  }

  /** Finds out when the other side is gone without a word. */
  ask(everyMs: number, answerMs: number): void {
    const { signal } = this.#closing;
    const asking = async (): Promise<void> => {
      for (;;) {
        if (!(await pause(everyMs, signal))) return;
        await within(answerMs, 'the answer whether it lives', this.#client.query('select 1'));
      }
    };
    asking().catch(this.#end);
  }

  close(): void {
    this.#closing.abort();
    endOrDestroy(this.#client);
  }
}

/** Milliseconds a goodbye may take: a server that is gone never answers it. */
const goodbyeMs = 1_000;

/** Ends a client of pg, at the latest by cutting its connection. */
export function endOrDestroy(client: Pick<PgListenClient, 'end' | 'connection'>): void {
  within(goodbyeMs, 'the end', client.end()).catch(() => client.connection?.stream.destroy());
}

async function listenWithPostgresJs(
  sql: PostgresJsListener,
  { channel, answerMs, notified }: Listening,
  { signal, warn }: WakeContext,
): Promise<Session> {
  const probe = newProbe();
  const arrived = Promise.withResolvers<void>();
  const onNotify = (payload: string): void => {
    if (payload === probe) arrived.resolve();
    else if (!isProbe(payload)) notified();
  };
  // It calls `notified` each time it listens, the first time too.
  const listened = sql.listen(channel, onNotify, notified);
  const patience = new AbortController();
  await Promise.race([listened, pause(answerMs, AbortSignal.any([signal, patience.signal]))]);
  patience.abort();
  const probed = async (): Promise<void> => {
    await within(answerMs, 'NOTIFY', sql.notify(channel, probe));
    await within(answerMs, 'a notification of ours', arrived.promise);
  };
  probed().catch((cause: unknown) => {
    if (signal.aborted) return;
    const why =
      'is the server away, or a pooler of transactions between us? The relay polls until notifications come through';
    warn(new Error(`LISTEN ${channel} hears nothing: ${why}`, { cause }));
  });
  // It waits for a server that is away, and reconnects, by itself.
  return {
    ended: new Promise(() => {}),
    close: () => void listened.then((listening) => listening.unlisten()).catch(() => {}),
  };
}

const probePrefix = 'settle-probe-';

function newProbe(): string {
  return `${probePrefix}${Math.random().toString(36).slice(2)}`;
}

/** Ours, or another relay's. */
function isProbe(payload: string | undefined): boolean {
  return payload?.startsWith(probePrefix) === true;
}

function isPostgresJs(source: object): source is PostgresJsListener {
  return 'listen' in source && 'notify' in source;
}

/** A burst that came in one packet is one wake-up. */
function coalesced(wake: () => void): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      wake();
    });
  };
}

/** Throws `config_invalid` for what would need quoting, or is longer than PostgreSQL keeps. */
export function refuseChannel(channel: string): void {
  if (/^[a-z_][a-z0-9_]{0,62}$/.test(channel)) return;
  throw new SettleError('config_invalid', `the channel ${JSON.stringify(channel)} is no plain name`, {
    next: 'Use at most 63 lower-case letters, digits and underscores',
  });
}
