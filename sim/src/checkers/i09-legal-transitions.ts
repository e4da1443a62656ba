import { statusesOf, type Status } from '../../../lib/src/core/patterns.ts';
import { isFinal, type Operation, type StoreWrite } from '../history.ts';
import type { Checker } from './checker.ts';
import { factsOf, read } from './facts.ts';

export const legalTransitions: Checker = {
  id: 'I9',
  title: 'statuses follow each other as the protocols allow and when, and revisions grow by one',
  check: (history) => {
    // What the store said reaches one who slept meanwhile as if it were said just now, until it says more.
    const mayHang = history.faults.some(
      (fault) => fault === 'coordinator-pause' || fault === 'coordinator-overlap',
    );
    const lagMs = mayHang ? 2.5 * history.limits.leaseMs : 0;
    return factsOf(history).flatMap(({ gid, writes, operations }) =>
      writes.flatMap((write) => {
        const what = illegal(write) ?? tooSoon(write, operations, lagMs);
        return what === undefined ? [] : [{ invariant: 'I9', gid, seq: write.seq, what }];
      }),
    );
  },
};

const ends: readonly Status[] = ['committed', 'aborted', 'forgotten'];

/** One write may hold several steps of the protocol, where nothing had to be durable in between. */
const next: Readonly<Record<Status, readonly Status[]>> = {
  running: ['running', 'finishing', 'compensating', ...ends],
  finishing: ['finishing', 'committed', 'forgotten'],
  compensating: ['compensating', 'aborted', 'forgotten'],
  trying: ['trying', 'confirming', 'cancelling', ...ends],
  confirming: ['confirming', 'committed', 'forgotten'],
  cancelling: ['cancelling', 'aborted', 'forgotten'],
  prepared: ['prepared', 'scheduled', 'delivering', 'aborted', 'forgotten'],
  scheduled: ['scheduled', 'delivering'],
  delivering: ['delivering', 'committed', 'forgotten'],
  committed: [],
  aborted: [],
  forgotten: [],
};

function illegal({ kind, before, after, coordinator }: StoreWrite): string | undefined {
  if (kind === 'prune') {
    return before !== undefined && isFinal(before.status) ? undefined : `pruned while ${before?.status}`;
  }
  if (after === undefined) return `a ${kind} by ${coordinator} left nothing`;
  if (!statusesOf[after.pattern].includes(after.status)) return `a ${after.pattern} is ${after.status}`;
  if (isFinal(after.status) !== (after.dueAtMs === undefined))
    return `it is ${after.status} and due at ${after.dueAtMs}`;
  if (kind === 'insert') {
    if (before !== undefined) return `inserted over a row that is ${before.status}`;
    return after.revision === 1 ? undefined : `inserted as revision ${after.revision}`;
  }
  if (before === undefined) return `${kind} of what is not there`;
  if (after.revision !== before.revision + 1)
    return `revision ${before.revision} was followed by ${after.revision}, by ${kind} of ${coordinator}`;
  if (after.plan !== before.plan || after.createdAtMs !== before.createdAtMs)
    return `${coordinator} changed what never changes`;
  if (kind === 'claim')
    return after.progress === before.progress ? undefined : 'a claim changed its progress';
  return next[before.status].includes(after.status)
    ? undefined
    : `${before.status} was followed by ${after.status}, written by ${coordinator}`;
}

/** D5. The deadline counts from a submit, on a clock whose pace is not quite the world's. */
function tooSoon(
  { before, after, at }: StoreWrite,
  operations: readonly Operation[],
  lagMs: number,
): string | undefined {
  if (before === undefined || after === undefined || before.status === after.status) return undefined;
  const known = read(after);
  const reason = known !== undefined && 'reason' in known.state ? known.state.reason : '';
  const [, timeoutMs] = /^not (?:finished|committed) within (\d+) ms$/.exec(reason) ?? [];
  const asked = operations.find(({ request }) => request.kind === 'submit');
  if (timeoutMs === undefined || asked === undefined) return undefined;
  const tookMs = at - asked.at;
  if (tookMs >= Number(timeoutMs) * clockTolerance - lagMs) return undefined;
  return `its deadline of ${timeoutMs} ms struck ${Math.round(tookMs)} ms after it was first submitted`;
}

const clockTolerance = 0.8;
