/** Leases by epoch. A lease that expired stands until somebody claims: only then is it lost. */
import type { DatabaseSync } from 'node:sqlite';
import { clusterMismatch, type Company, type Lease } from '../../engine/ports.ts';
import { crashPoint } from '../../util/crash-point.ts';
import type { JoinRequest, RenewRequest } from './messages.ts';

export interface Leases {
  join(request: JoinRequest, nowMs: number): Lease;
  /** False: it is lost. */
  renew(request: RenewRequest, nowMs: number): boolean;
  leave(epoch: number): void;
  /** Ends what has expired, except the lease of the one who asks. */
  sweep(exceptEpoch: number, nowMs: number): void;
  /** The others that live and said what they drive. */
  othersOf(epoch: number, nowMs: number): Company;
  /** The epochs whose leases nobody took over from, and when they end. */
  all(): ReadonlyMap<number, number>;
}

export function prepareLeases(db: DatabaseSync): Leases {
  const own = db.prepare(
    'update settle_meta set cluster = coalesce(cluster, ?) where id = 1 returning cluster',
  );
  const join = db.prepare('insert into settle_lease (coordinator, expires_at) values (?, ?)');
  const renew = db.prepare('update settle_lease set expires_at = ? where epoch = ?');
  const leave = db.prepare('delete from settle_lease where epoch = ?');
  const sweep = db.prepare('delete from settle_lease where expires_at <= ? and epoch <> ?');
  const all = db.prepare('select epoch, expires_at from settle_lease');
  const endings = (): ReadonlyMap<number, number> =>
    new Map(all.all().map((row) => [Number(row['epoch']), Number(row['expires_at'])]));
  /** All leases are of this process, so what their owners drive need not outlive it. */
  const driving = new Map<number, number>();
  return {
    join: ({ coordinator, ttlMs, cluster }, nowMs) => {
      crashPoint('sqlite.join', 'before');
      const owner = String(own.get(cluster)?.['cluster']);
      if (owner !== cluster) throw clusterMismatch(cluster, owner);
      const { lastInsertRowid } = join.run(coordinator, nowMs + ttlMs);
      crashPoint('sqlite.join', 'after');
      return { epoch: Number(lastInsertRowid), nowMs };
    },
    renew: ({ epoch, ttlMs, driving: ofOwner }, nowMs) => {
      crashPoint('sqlite.renew', 'before');
      const { changes } = renew.run(nowMs + ttlMs, epoch);
      crashPoint('sqlite.renew', 'after');
      if (ofOwner === undefined) driving.delete(epoch);
      else driving.set(epoch, ofOwner);
      return changes === 1;
    },
    leave: (epoch) => {
      crashPoint('sqlite.leave', 'before');
      leave.run(epoch);
      crashPoint('sqlite.leave', 'after');
    },
    sweep: (exceptEpoch, nowMs) => {
      crashPoint('sqlite.sweep', 'before');
      sweep.run(nowMs, exceptEpoch);
      crashPoint('sqlite.sweep', 'after');
    },
    othersOf: (epoch, nowMs) => {
      const living = endings();
      for (const other of driving.keys()) if (!living.has(other)) driving.delete(other);
      const others = [...driving].filter(([other]) => other !== epoch && (living.get(other) ?? 0) > nowMs);
      return { coordinators: others.length, driving: others.reduce((sum, [, of]) => sum + of, 0) };
    },
    all: endings,
  };
}
