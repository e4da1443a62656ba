/** Histories for the tests of the checkers: what is not given is what an uneventful run of nothing would show. */
import { encodePlan, encodeProgress } from '../../../lib/src/core/codec.ts';
import { isBranchName, isGid, type BranchName, type Gid } from '../../../lib/src/core/ids.ts';
import type { Op, Outcome } from '../../../lib/src/core/outcome.ts';
import {
  evolve,
  isTerminal,
  planOf,
  start,
  type Definition,
  type HistoryEntry,
} from '../../../lib/src/core/patterns.ts';
import type { Event } from '../../../lib/src/core/protocol.ts';
import { engineLimits } from '../../../lib/src/engine/limits.ts';
import type { StoredTransaction } from '../../../lib/src/engine/ports.ts';
import { assert } from '../../../lib/src/util/assert.ts';
import type {
  Answer,
  BranchIntent,
  CallRecord,
  EffectRecord,
  FinalDump,
  Handled,
  History,
  Intent,
  LeaseRecord,
  Operation,
  StoreWrite,
} from '../history.ts';
import type { Checker } from './checker.ts';

/** What the checker says about it, one line each. */
export function complaints(checker: Checker, history: History): readonly string[] {
  return checker.check(history).map(({ what }) => what);
}

export function historyOf(
  parts: Partial<Omit<History, 'final'>> & { readonly final?: Partial<FinalDump> },
): History {
  return {
    seed: 1,
    limits: engineLimits,
    faults: [],
    intents: new Map(),
    operations: [],
    writes: [],
    leases: [],
    calls: [],
    handled: [],
    effects: [],
    alarms: [],
    bounds: [],
    lives: [],
    healedAt: 0,
    settleBoundMs: 60_000,
    endedAt: 60_000,
    ...parts,
    final: { rows: [], accounts: [], barrierRows: [], leases: [], coordinators: [], ...parts.final },
  };
}

export function gidOf(text: string): Gid {
  assert(isGid(text), `${text} is a gid`);
  return text;
}

export function nameOf(text: string): BranchName {
  assert(isBranchName(text), `${text} is a branch name`);
  return text;
}

export const g = gidOf('g');

/** Sequential steps, each with a compensation. */
export function sagaOf(...names: readonly string[]): Definition & { pattern: 'saga' } {
  const steps = names.map((name) => ({
    name,
    action: { address: `http://bank/${name}` },
    compensation: { address: `http://bank/undo-${name}` },
  }));
  return { pattern: 'saga', name: 'transfer', steps };
}

export function tccOf(...names: readonly string[]): Definition & { pattern: 'tcc' } {
  const branches = names.map((name) => ({
    name,
    try: { address: `http://bank/try-${name}` },
    confirm: { address: `http://bank/confirm-${name}` },
    cancel: { address: `http://bank/cancel-${name}` },
  }));
  return { pattern: 'tcc', name: 'reservation', decide: 'when-all-tried', branches };
}

export function messageOf(...names: readonly string[]): Definition & { pattern: 'message' } {
  const targets = names.map((name) => ({ name, deliver: { address: `http://bank/${name}` } }));
  return { pattern: 'message', name: 'notification', check: { address: 'http://bank/check' }, targets };
}

export function answered(branch: string, op: Op, outcome: Outcome = { kind: 'done' }): readonly Event[] {
  const name = nameOf(branch);
  return [
    { kind: 'sent', at: 0, branch: name, op },
    { kind: 'outcome', at: 0, branch: name, op, outcome },
  ];
}

export const no: Outcome = { kind: 'refused', reason: 'no' };

/** The row of a transaction to which all this happened. */
export function rowOf(
  definition: Definition,
  events: readonly Event[] = [],
  more: Partial<StoredTransaction> & {
    readonly actions?: readonly (readonly [action: string, actor: string])[];
  } = {},
): StoredTransaction {
  const plan = planOf(definition);
  const state = events.reduce((state, event) => evolve(plan, state, event), start(plan, 0));
  const { actions = [], ...fields } = more;
  const history = actions.map(([action, actor]): HistoryEntry => ({
    kind: 'action',
    atMs: 0,
    action,
    actor,
    reason: '',
  }));
  return {
    gid: g,
    pattern: plan.pattern,
    name: plan.name,
    status: state.kind,
    stuck: false,
    plan: encodePlan(plan),
    progress: encodeProgress({ state, history }),
    revision: 1,
    epoch: 1,
    dueAtMs: isTerminal(state) ? undefined : 0,
    createdAtMs: 0,
    updatedAtMs: 0,
    ...fields,
  };
}

export function intentOf(
  definition: Definition,
  branches: Readonly<Record<string, Partial<BranchIntent>>> = {},
): Intent {
  const full = Object.entries(branches).map(([name, intent]): [string, BranchIntent] => [
    name,
    { participant: 'bank', account: name, delta: 0, announces: true, compensable: true, ...intent },
  ]);
  return {
    gid: g,
    pattern: definition.pattern,
    definition,
    plan: planOf(definition),
    amount: 0,
    branches: new Map(full),
    refusedBy: undefined,
    hopeless: false,
  };
}

export function intentsOf(intent: Intent): ReadonlyMap<Gid, Intent> {
  return new Map([[intent.gid, intent]]);
}

/** One write after the other: the first inserts, the others update. */
export function writesOf(...rows: readonly StoredTransaction[]): readonly StoreWrite[] {
  let before: StoredTransaction | undefined;
  return rows.map((row, i) => {
    const after = { ...row, revision: i + 1 };
    const expected = before === undefined ? undefined : { revision: before.revision, epoch: before.epoch };
    const made = write({
      seq: i * 10 + 5,
      kind: expected === undefined ? 'insert' : 'update',
      before,
      after,
      expected,
    });
    before = after;
    return made;
  });
}

export function write(parts: Partial<StoreWrite>): StoreWrite {
  return {
    seq: 5,
    at: 0,
    kind: 'update',
    gid: g,
    coordinator: 'coordinator-1#1',
    writerEpoch: 1,
    expected: undefined,
    outcome: 'written',
    before: undefined,
    after: undefined,
    answered: true,
    ...parts,
  };
}

/** Business functions that ran and committed at the bank, in this order: `op branch`, and how if not `worked`. */
export function handledOf(
  ...done: readonly (readonly [op: Op, branch: string, how?: Handled['how']])[]
): readonly Handled[] {
  return done.map(([op, branch, how = 'worked'], i) => ({
    seq: 100 + i,
    at: i,
    call: i,
    participant: 'bank',
    gid: g,
    branch,
    op,
    how,
  }));
}

export function effectsOf(
  ...done: readonly (readonly [op: Op, branch: string, delta: number, held?: number])[]
): readonly EffectRecord[] {
  let balance = 0;
  let holds = 0;
  return done.map(([op, branch, delta, held = 0], i) => {
    balance += delta;
    holds += held;
    return {
      seq: 100 + i,
      at: i,
      participant: 'bank',
      gid: g,
      branch,
      op,
      account: branch,
      delta,
      held,
      balanceAfter: balance,
      heldAfter: holds,
    };
  });
}

export function callOf(op: Op, branch: string, parts: Partial<CallRecord> = {}): CallRecord {
  return {
    seq: 50,
    at: 0,
    id: 0,
    coordinator: 'coordinator-1#1',
    writerEpoch: 1,
    gid: g,
    branch,
    op,
    attempt: 1,
    participant: 'bank',
    durable: undefined,
    reply: undefined,
    ...parts,
  };
}

export function leaseOf(kind: LeaseRecord['kind'], epoch: number, at: number): LeaseRecord {
  return { seq: at, at, kind, coordinator: 'coordinator-1#1', epoch, untilMs: at + engineLimits.leaseMs };
}

export function operationOf(parts: Partial<Operation>): Operation {
  return {
    seq: 1,
    at: 0,
    id: 0,
    by: 'client-1',
    coordinator: 'coordinator-1',
    gid: g,
    request: { kind: 'submit' },
    fingerprint: 'one',
    answer: { kind: 'none' },
    ...parts,
  };
}

export function told(row: StoredTransaction, seq: number): Answer {
  const { gid, pattern, name, status, stuck, createdAtMs, updatedAtMs } = row;
  const view = { gid, pattern, name, status, stuck, createdAtMs, updatedAtMs, branches: [] };
  return { kind: 'view', seq, at: 0, view };
}
