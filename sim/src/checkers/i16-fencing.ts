import type { CallRecord, History, LeaseRecord, StoreWrite } from '../history.ts';
import type { Checker, Violation } from './checker.ts';

/** D4. Ownership moves by compare-and-set alone; a lease only tells when somebody may take what another one has. */
export const fencing: Checker = {
  id: 'I16',
  title:
    'nothing is written over a newer owner, and nothing taken from or sent under a lease it should not be',
  check: (history) => {
    const leases = grantsOf(history);
    return [
      ...history.writes.flatMap((write) =>
        complaint(write, unfenced(write) ?? stolen(history, leases, write)),
      ),
      ...history.calls.flatMap((call) => complaint(call, expired(history, leases, call))),
    ];
  },
};

function complaint({ gid, seq }: StoreWrite | CallRecord, what: string | undefined): readonly Violation[] {
  return what === undefined ? [] : [{ invariant: 'I16', gid, seq, what }];
}

function unfenced({
  kind,
  outcome,
  expected,
  before,
  after,
  writerEpoch,
  coordinator,
}: StoreWrite): string | undefined {
  if (outcome !== 'written' || before === undefined || after === undefined) return undefined;
  if (kind === 'claim') {
    return after.epoch === writerEpoch && after.epoch !== before.epoch
      ? undefined
      : `${coordinator} (epoch ${writerEpoch}) claimed it and left epoch ${after.epoch} its owner`;
  }
  if (kind !== 'update' || expected === undefined) return undefined;
  if (expected.epoch === before.epoch && expected.revision === before.revision) return undefined;
  return (
    `${coordinator} wrote resting on epoch ${expected.epoch} and revision ${expected.revision}; ` +
    `there were epoch ${before.epoch} and revision ${before.revision}`
  );
}

function stolen(
  { limits }: History,
  leases: Grants,
  { kind, before, at, seq }: StoreWrite,
): string | undefined {
  if (kind !== 'claim' || before === undefined || before.epoch === 0) return undefined;
  const lease = leases.at(before.epoch, seq);
  if (lease === undefined || lease.kind === 'left') return undefined;
  const leftMs = lease.at + limits.leaseMs - at;
  // The store's clock counts whole milliseconds.
  return leftMs >= 1
    ? `claimed from epoch ${before.epoch}, whose lease lived for another ${leftMs} ms`
    : undefined;
}

function expired({ limits }: History, leases: Grants, call: CallRecord): string | undefined {
  const { at, seq, writerEpoch, coordinator, op, branch } = call;
  const lease = leases.at(writerEpoch, seq);
  if (lease === undefined) return undefined;
  if (lease.kind === 'left') return `${coordinator} sent ${op} ${branch} after it had left`;
  const overMs = at - lease.at - limits.leaseMs * clockTolerance;
  return overMs > 0
    ? `${coordinator} sent ${op} ${branch} ${overMs} ms after its lease had run out`
    : undefined;
}

/** A coordinator counts its lease on its own clock, whose pace is not quite the world's. */
const clockTolerance = 1.25;

interface Grants {
  /** The last word on the lease of this epoch before `seq`. */
  at(epoch: number, seq: number): LeaseRecord | undefined;
}

function grantsOf({ leases }: History): Grants {
  const byEpoch = new Map<number, LeaseRecord[]>();
  for (const lease of leases) {
    if (lease.kind === 'lost') continue;
    const records = byEpoch.get(lease.epoch);
    if (records === undefined) byEpoch.set(lease.epoch, [lease]);
    else records.push(lease);
  }
  return { at: (epoch, seq) => byEpoch.get(epoch)?.findLast((lease) => lease.seq < seq) };
}
