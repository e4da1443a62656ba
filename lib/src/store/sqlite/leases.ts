/** Leases by epoch. A lease that expired stands until somebody claims: only then is it lost. */
import type { DatabaseSync } from 'node:sqlite';
import type { Lease } from '../../engine/ports.ts';
import type { JoinRequest, RenewRequest } from './messages.ts';

export interface Leases {
  join(request: JoinRequest, nowMs: number): Lease;
  /** False: it is lost. */
  renew(request: RenewRequest, nowMs: number): boolean;
  leave(epoch: number): void;
  /** Ends what has expired, except the lease of the one who asks. */
  sweep(exceptEpoch: number, nowMs: number): void;
  /** The epochs whose leases nobody took over from, and when they end. */
  all(): ReadonlyMap<number, number>;
}

export function prepareLeases(db: DatabaseSync): Leases {
  const join = db.prepare('insert into settle_lease (coordinator, expires_at) values (?, ?)');
  const renew = db.prepare('update settle_lease set expires_at = ? where epoch = ?');
  const leave = db.prepare('delete from settle_lease where epoch = ?');
  const sweep = db.prepare('delete from settle_lease where expires_at <= ? and epoch <> ?');
  const all = db.prepare('select epoch, expires_at from settle_lease');
  return {
    join: ({ coordinator, ttlMs }, nowMs) => ({
      epoch: Number(join.run(coordinator, nowMs + ttlMs).lastInsertRowid),
      nowMs,
    }),
    renew: ({ epoch, ttlMs }, nowMs) => renew.run(nowMs + ttlMs, epoch).changes === 1,
    leave: (epoch) => {
      leave.run(epoch);
    },
    sweep: (exceptEpoch, nowMs) => {
      sweep.run(nowMs, exceptEpoch);
    },
    all: () => new Map(all.all().map((row) => [Number(row['epoch']), Number(row['expires_at'])])),
  };
}
