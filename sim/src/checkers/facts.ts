/** A history sorted by transaction, once for all checkers. */
import { decode } from '../../../lib/src/core/codec.ts';
import type { Gid } from '../../../lib/src/core/ids.ts';
import type { Op } from '../../../lib/src/core/outcome.ts';
import {
  branches,
  type HistoryEntry,
  type Plan,
  type State,
  type Status,
} from '../../../lib/src/core/patterns.ts';
import type { BranchView } from '../../../lib/src/core/protocol.ts';
import type { StoredTransaction } from '../../../lib/src/engine/ports.ts';
import type {
  CallRecord,
  EffectRecord,
  Handled,
  History,
  Intent,
  Operation,
  StoreWrite,
} from '../history.ts';

/** All that is known of one transaction. */
export interface Facts {
  readonly gid: Gid;
  readonly intent: Intent | undefined;
  readonly operations: readonly Operation[];
  /** Those the store carried out, in order. */
  readonly writes: readonly StoreWrite[];
  readonly refusedWrites: readonly StoreWrite[];
  readonly calls: readonly CallRecord[];
  readonly handled: readonly Handled[];
  readonly effects: readonly EffectRecord[];
  /** Its row when the run ended, or when it was pruned; undefined when it never came to be. */
  readonly last: Read | undefined;
}

/** A row as somebody would read it who knows the protocols. */
export interface Read {
  readonly row: StoredTransaction;
  readonly plan: Plan;
  readonly state: State;
  readonly branches: readonly BranchView[];
  /** What people did, as the row itself records it. */
  readonly actions: readonly Extract<HistoryEntry, { kind: 'action' }>[];
}

const known = new WeakMap<History, readonly Facts[]>();

/** Every transaction that left any trace. */
export function factsOf(history: History): readonly Facts[] {
  let facts = known.get(history);
  if (facts === undefined) {
    facts = sort(history);
    known.set(history, facts);
  }
  return facts;
}

/** Of commit and abort, the one a status belongs to. */
export function decisionOf(status: Status): 'commit' | 'abort' | undefined {
  switch (status) {
    case 'finishing':
    case 'confirming':
    case 'scheduled':
    case 'delivering':
    case 'committed':
      return 'commit';
    case 'compensating':
    case 'cancelling':
    case 'aborted':
      return 'abort';
    case 'running':
    case 'trying':
    case 'prepared':
    case 'forgotten':
      return undefined;
  }
}

export function read(row: StoredTransaction): Read | undefined {
  const decoded = decode(row.plan, row.progress);
  if (decoded.kind === 'unreadable') return undefined;
  const { plan, progress } = decoded;
  const actions = progress.history.filter((entry) => entry.kind === 'action');
  return { row, plan, state: progress.state, branches: branches(plan, progress.state), actions };
}

/** Whether a person did one of these to it. */
export function wasActedOn({ actions }: Read, ...which: readonly string[]): boolean {
  return actions.some(({ action }) => which.includes(action));
}

/** A client aborts what it knows to have failed; an operator decides without knowing. */
export function wasDecidedByPerson({ actions }: Read): boolean {
  return actions.some(
    ({ action, actor }) =>
      action === 'force-commit' ||
      action === 'force-abort' ||
      (action === 'abort' && actor.startsWith('operator')),
  );
}

/** What really happened at one branch: the business functions that ran and committed, in order. */
export function workedAt(facts: Facts, branch: string, ...ops: readonly Op[]): readonly Handled[] {
  return facts.handled.filter(
    (handled) => handled.branch === branch && handled.how === 'worked' && ops.includes(handled.op),
  );
}

type Building = { -readonly [K in keyof Facts]: Facts[K] extends readonly (infer T)[] ? T[] : Facts[K] };

function sort(history: History): readonly Facts[] {
  const byGid = new Map<Gid, Building>();
  const of = (gid: Gid): Building => {
    let facts = byGid.get(gid);
    if (facts === undefined) {
      facts = {
        gid,
        intent: history.intents.get(gid),
        operations: [],
        writes: [],
        refusedWrites: [],
        calls: [],
        handled: [],
        effects: [],
        last: undefined,
      };
      byGid.set(gid, facts);
    }
    return facts;
  };
  for (const operation of history.operations) of(operation.gid).operations.push(operation);
  for (const call of history.calls) of(call.gid).calls.push(call);
  for (const handled of history.handled) of(handled.gid).handled.push(handled);
  for (const effect of history.effects) of(effect.gid).effects.push(effect);
  const rows = new Map<Gid, StoredTransaction>();
  for (const write of history.writes) {
    const facts = of(write.gid);
    (write.outcome === 'written' ? facts.writes : facts.refusedWrites).push(write);
    const row = write.kind === 'prune' ? write.before : write.after;
    if (row !== undefined) rows.set(write.gid, row);
  }
  for (const row of history.final.rows) rows.set(row.gid, row);
  for (const [gid, row] of rows) of(gid).last = read(row);
  return [...byGid.values()];
}
