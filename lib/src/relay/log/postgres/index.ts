/**
 * `settle/relay/postgres-log`: wake-ups by PostgreSQL's log (logical replication with pgoutput), whoever wrote the messages.
 *
 * - P1 The log only wakes. What is sent, and in which order, is read from the table.
 * - P2 Every connection begins with a look at the table: what a lost slot, another primary or a pause would have told is there.
 * - P3 Everything up to a position is acknowledged once the relay has looked for all commits before it (log/handled-prefix).
 *   What the server sends beside them, as signs of life of an idle database, is acknowledged with it, so that it holds back no
 *   log.
 */
import type { WakeContext, WakeSource, Wake } from '../../wake.ts';
import { type Backoff, defaultBackoff, keepOpen, type Session } from '../../wake/keep-open.ts';
import { pause, within } from '../../wake/pause.ts';
import { SettleError } from '../../../util/errors.ts';
import { onAbort } from '../../../util/on-abort.ts';
import { Follower } from '../follower.ts';
import { Looks } from '../looks.ts';
import { firstRow, type PgQueries, type PgReplicationClient, plainName, sqlStateOf } from './clients.ts';
import type { LogMessage, Lsn } from './messages.ts';
import { ensurePublication } from './publication.ts';
import { ensureSlot, retainedBy, type Slot, temporarySlot } from './slot.ts';
import { isVisibleIn, snapshotOf } from './snapshot.ts';
import { LogStream } from './stream.ts';

export type { Backoff } from '../../wake/keep-open.ts';
export type { PgQueries, PgReplicationClient } from './clients.ts';

export interface PostgresLogOptions {
  /** Makes a new, unconnected Client of pg with `replication: 'database'`, whose connection is then ours. */
  readonly connect: () => PgReplicationClient;
  /** A Pool of pg on the same database: one question at a time. */
  readonly pool: PgQueries;
  /**
   * The name of a slot that stays when the connection ends, for one relay alone. Then it reads on where it was, and the server
   * holds back its log for as long as nobody does: set `max_slot_wal_keep_size`. Default: a slot of the connection, gone with it.
   */
  readonly slot?: string;
  /** Made if it is not there. Default `settle_outbox`. */
  readonly publication?: string;
  /** Default `settle_outbox`; `schema.table` where it is not on the search path. */
  readonly table?: string;
  /** Warns when a slot holds back more of the server's log than that. Default 1 GiB. */
  readonly retainedWarnBytes?: number;
  /** Milliseconds between two looks at what is held back. Default 60,000. */
  readonly retainedCheckMs?: number;
  /** Milliseconds that connecting, and each answer, may take. Default 10,000. */
  readonly answerMs?: number;
  /**
   * Milliseconds that the relay may take to look; then the connection is given up until it has. What is not acknowledged holds
   * back the log, and the shutdown of the server. Default 10,000.
   */
  readonly lookMs?: number;
  /** Milliseconds of silence after which the server is asked whether it lives. Default 10,000. */
  readonly aliveMs?: number;
  /** Default: a random part of 100 ms, doubling up to 5 s. */
  readonly backoff?: Backoff;
}

/**
 * Wakes a relay for every commit that inserted messages, by whatever program.
 *
 * Needs `wal_level = logical`, a role with REPLICATION, and a connection to the primary that no pooler takes apart. `start` rejects with
 * `config_invalid` where one of them is missing. A lost connection or slot costs wake-ups, never messages: the relay's
 * poll finds them, and a new connection begins with a look at the table.
 *
 * Making a slot waits for the end of all transactions that write at that moment; until then the relay polls, and is warned.
 */
export function postgresLogWake(options: PostgresLogOptions): WakeSource {
  const settings = {
    publication: plainName('publication', options.publication ?? 'settle_outbox'),
    table: plainName('table', options.table ?? 'settle_outbox', 2),
    slot: options.slot === undefined ? undefined : plainName('slot', options.slot),
    retainedWarnBytes: BigInt(options.retainedWarnBytes ?? 2 ** 30),
    retainedCheckMs: options.retainedCheckMs ?? 60_000,
    answerMs: options.answerMs ?? 10_000,
    aliveMs: options.aliveMs ?? 10_000,
    lookMs: options.lookMs ?? 10_000,
    connect: options.connect,
    pool: options.pool,
  };
  return {
    name: 'postgres-log',
    async start(wake, context) {
      const what = `reading PostgreSQL's log`;
      const looks = new Looks(wake);
      const open = async (): Promise<Session> => {
        await looks.looked(context.signal);
        return await openStream(settings, looks.wake, context);
      };
      const opened = keepOpen({ ...context, what, backoff: options.backoff ?? defaultBackoff, open });
      const patience = new AbortController();
      const isPatient = pause(settings.answerMs, AbortSignal.any([context.signal, patience.signal]));
      try {
        await Promise.race([opened, isPatient]);
      } finally {
        patience.abort();
      }
      // What is found out later is only told.
      opened.catch(context.warn);
    },
  };
}

interface Settings {
  readonly publication: string;
  readonly table: string;
  readonly slot: string | undefined;
  readonly retainedWarnBytes: bigint;
  readonly retainedCheckMs: number;
  readonly answerMs: number;
  readonly aliveMs: number;
  readonly lookMs: number;
  readonly connect: () => PgReplicationClient;
  readonly pool: PgQueries;
}

/** A commit may have been in the log before the slot was, and become visible after the first look. */
const secondLookMs = 1_000;

async function openStream(settings: Settings, wake: Wake, { signal, warn }: WakeContext): Promise<Session> {
  const { pool, publication, table, answerMs, aliveMs } = settings;
  await within(answerMs, 'the publication', ensurePublication(pool, publication, table));
  const slot: Slot = settings.slot === undefined ? temporarySlot() : { kind: 'kept', name: settings.slot };
  const client = settings.connect();
  const stream = new LogStream(client);
  // What waits for the server's transactions ends with us.
  const forget = onAbort(signal, () => stream.close());
  try {
    await within(answerMs, 'connecting', client.connect()).catch(refuseRole);
    await waitForSlot(slot, { client, pool, warn }, { stream, answerMs });
    const follower = new Follower<Lsn, number>({
      wake,
      signal: stream.signal,
      visible: () => within(answerMs, 'the snapshot', snapshot(pool)),
      lookMs: settings.lookMs,
      giveUp: (error) => stream.giveUp(error),
    });
    const acknowledged = (): Lsn | undefined => follower.acknowledged;
    const onMessage = reading(follower);
    await stream.begin({ slot: slot.name, publication, answerMs, aliveMs, onMessage, acknowledged });
  } catch (error) {
    stream.close();
    throw error;
  } finally {
    forget();
  }
  void wake();
  void pause(secondLookMs, stream.signal).then((hasPassed) => (hasPassed ? wake() : undefined));
  void watchRetained(slot.name, settings, stream.signal, warn);
  return stream;
}

/** Transactions that inserted nothing of ours only move the position. */
function reading(follower: Follower<Lsn, number>): (message: LogMessage) => void {
  let current: { readonly xid: number; hasInserted: boolean } | undefined;
  return (message) => {
    switch (message.kind) {
      case 'begin':
        current = { xid: message.xid, hasInserted: false };
        return;
      case 'insert':
        if (current !== undefined) current.hasInserted = true;
        return;
      case 'commit':
        if (current?.hasInserted === true) follower.committed(message.end, current.xid);
        else follower.passed(message.end);
        current = undefined;
        return;
      case 'alive':
        if (current === undefined) follower.passed(message.position);
        return;
      case 'other':
    }
  };
}

async function snapshot(pool: PgQueries): Promise<(xid: number) => boolean> {
  const row = await firstRow(pool, 'select pg_current_snapshot()::text as snapshot');
  const current = snapshotOf(row?.['snapshot'] ?? '');
  return (xid) => isVisibleIn(current, xid);
}

/** It may have to wait for as long as transactions of others take. */
async function waitForSlot(
  slot: Slot,
  server: {
    readonly client: PgReplicationClient;
    readonly pool: PgQueries;
    readonly warn: (error: Error) => void;
  },
  { stream, answerMs }: { readonly stream: LogStream; readonly answerMs: number },
): Promise<void> {
  const patience = new AbortController();
  void pause(answerMs, AbortSignal.any([patience.signal, stream.signal])).then((hasPassed) => {
    if (!hasPassed) return;
    const what =
      'a slot is made once the transactions that write now have ended (pg_stat_activity, pg_prepared_xacts)';
    server.warn(new Error(`${what}; the relay polls until then`));
  });
  try {
    await Promise.race([
      ensureSlot(slot, server),
      stream.ended.then((why) => Promise.reject(why)),
      aborted(stream.signal),
    ]);
  } catch (error) {
    // The server's process would wait on, though nobody is connected to it.
    const { processID } = server.client;
    if (typeof processID === 'number') {
      server.pool.query('select pg_cancel_backend($1)', [String(processID)]).catch(() => {});
    }
    throw error;
  } finally {
    patience.abort();
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(new Error('stopped'));
    if (signal.aborted) stop();
    else onAbort(signal, stop);
  });
}

function refuseRole(cause: unknown): never {
  // Insufficient privilege; no entry for replication in pg_hba.conf.
  if (!['42501', '28000'].includes(sqlStateOf(cause) ?? '')) throw cause;
  throw new SettleError('config_invalid', 'the server does not let us read its log', {
    next: 'Give the role REPLICATION (on managed servers: their role for it), and let pg_hba.conf admit it',
    cause,
  });
}

/** Says once for each time that the limit is passed, and again only after half of it was gone. */
async function watchRetained(
  slot: string,
  { pool, retainedCheckMs, retainedWarnBytes, answerMs }: Settings,
  signal: AbortSignal,
  warn: (error: Error) => void,
): Promise<void> {
  const told = new Set<string>();
  while (await pause(retainedCheckMs, signal)) {
    try {
      for (const { slot: name, isActive, bytes } of await within(
        answerMs,
        'the slots',
        retainedBy(pool, slot),
      )) {
        if (bytes < retainedWarnBytes / 2n) told.delete(name);
        if (bytes <= retainedWarnBytes || told.has(name)) continue;
        told.add(name);
        const advice = isActive
          ? 'does the relay come to look?'
          : `nobody reads it: select pg_drop_replication_slot('${name}')`;
        warn(
          new Error(
            `the slot ${name} holds back ${bytes} bytes of the server's log (warned from ${retainedWarnBytes}): ${advice}`,
          ),
        );
      }
    } catch (cause) {
      if (!signal.aborted) warn(new Error('what slots hold back of the log could not be asked', { cause }));
    }
  }
}
