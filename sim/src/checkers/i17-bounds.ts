import type { CallRecord, History, Operation } from '../history.ts';
import type { Checker, Violation } from './checker.ts';
import { factsOf, type Facts } from './facts.ts';

export const bounds: Checker = {
  id: 'I17',
  title: 'memory, queues, calls under way and the pace of retries keep their limits',
  check: (history) => [...samples(history), ...factsOf(history).flatMap(hurried)],
};

function samples({ bounds, limits }: History): readonly Violation[] {
  const { transactionsMax, claimBatch, writesWaitingMax, callsPerDestinationMax } = limits;
  return bounds.flatMap((sample): readonly Violation[] => {
    const over = (what: string, is: number, max: number): readonly Violation[] =>
      is <= max
        ? []
        : [
            {
              invariant: 'I17',
              seq: sample.seq,
              what: `${sample.coordinator}: ${is} ${what}; at most ${max}`,
            },
          ];
    return [
      // A claim under way when others are admitted comes on top, and so do those taken up at the same time.
      ...over('transactions in memory', sample.transactions, transactionsMax + claimBatch + takenUpAtOnce),
      ...over('writes waiting', sample.writesWaiting, writesWaitingMax + transactionsMax),
      ...over('calls to one destination', sample.callsPerDestinationMax, callsPerDestinationMax),
    ];
  });
}

const takenUpAtOnce = 5;

/** A claim that the store carried out is heard of within this time, or never. */
const claimHeardMs = 3_000;

/** A pause that full jitter draws this short, after this many attempts, is chance once and a storm six times in a row. */
const lateAttempt = 8;
const shortPauseMs = 100;
const shortPausesMax = 5;
/** A coordinator's clock may go faster than the world's. */
const clockTolerance = 0.8;

/** What a person or a client decides may take effect at any time between question and answer; a get only looks. */
function mayEndPause({ request, seq, answer }: Operation, from: number, until: number): boolean {
  if (request.kind === 'get' || seq > until) return false;
  return seq > from || (request.kind !== 'submit' && (answer.kind === 'none' || answer.seq > from));
}

function hurried({ gid, calls, operations, writes }: Facts): readonly Violation[] {
  const last = new Map<string, CallRecord>();
  const shortPauses = new Map<string, number>();
  for (const call of calls) {
    const { coordinator, branch, op, seq, at, attempt } = call;
    const key = `${coordinator} ${branch} ${op}`;
    const earlier = last.get(key);
    const before = earlier?.reply;
    last.set(key, call);
    if (earlier === undefined || before === undefined || before.seq > seq) continue;
    // Whoever asks for it, decides something or takes it over ends the pause. An answer that comes to one who lost the
    // transaction while it waited is not heard by the one who drives it now, though both be one process.
    const isMeanwhile = (when: number, since = before.seq): boolean => when > since && when < seq;
    const wasTouched =
      operations.some((operation) => mayEndPause(operation, before.seq, seq)) ||
      writes.some(
        ({ kind, seq, at, before, after }) =>
          (isMeanwhile(seq, earlier.seq) && before?.epoch !== after?.epoch) ||
          (kind === 'claim' && seq < call.seq && at > earlier.at - claimHeardMs),
      );
    if (wasTouched) continue;
    const pauseMs = at - before.at;
    const { outcome } = before;
    const wishMs = outcome.kind === 'unknown' || outcome.kind === 'ongoing' ? (outcome.retryAfterMs ?? 0) : 0;
    if (pauseMs < wishMs * clockTolerance) {
      const what = `${op} ${branch} was asked again after ${Math.round(pauseMs)} ms; it wished for ${wishMs}`;
      return [{ invariant: 'I17', gid, seq, what }];
    }
    const isShort = outcome.kind !== 'ongoing' && attempt >= lateAttempt && pauseMs < shortPauseMs;
    const short = isShort ? (shortPauses.get(key) ?? 0) + 1 : 0;
    shortPauses.set(key, short);
    if (short > shortPausesMax)
      return [
        { invariant: 'I17', gid, seq, what: `${op} ${branch} was asked ${attempt} times, without a pause` },
      ];
  }
  return [];
}
