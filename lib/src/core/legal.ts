/** Which action a person or client may take on a transaction in which status: one table for API and dashboard. */
import { stuckBranches, type Plan, type State, type Status } from './patterns.ts';
import { untried } from './tcc.ts';

export const actions = [
  'abort',
  'retry-now',
  'force-commit',
  'force-abort',
  'skip-branch',
  'forget',
] as const;
export type Action = (typeof actions)[number];

/** `legal`, legal only while the transaction is stuck, or never, with the reason to show. */
export type Legality = 'legal' | 'when-stuck' | { readonly never: string };

type Row = Readonly<Record<Action, Legality>>;

const decidedCommit = { never: 'the decision to commit has fallen; there is only one decision' };
const decidedAbort = { never: 'the decision to abort has fallen; there is only one decision' };
const ended = { never: 'the transaction has ended' };
const nothingToSkip = { never: 'no branch is being settled; abort the transaction instead' };
const notStuck = { never: 'it only waits for its time; retry-now starts it' };

const endedRow: Row = {
  abort: ended,
  'retry-now': ended,
  'force-commit': ended,
  'force-abort': ended,
  'skip-branch': ended,
  forget: ended,
};

const goingForward: Row = {
  abort: decidedCommit,
  'retry-now': 'legal',
  'force-commit': decidedCommit,
  'force-abort': decidedCommit,
  'skip-branch': 'when-stuck',
  forget: 'when-stuck',
};

const goingBack: Row = {
  ...goingForward,
  abort: decidedAbort,
  'force-commit': decidedAbort,
  'force-abort': decidedAbort,
};

const undecided: Row = {
  abort: 'legal',
  'retry-now': 'legal',
  'force-commit': 'legal',
  'force-abort': 'legal',
  'skip-branch': nothingToSkip,
  forget: 'when-stuck',
};

export const legalTable: Readonly<Record<Status, Row>> = {
  running: { ...undecided, 'skip-branch': 'when-stuck' },
  finishing: goingForward,
  compensating: goingBack,
  trying: undecided,
  confirming: goingForward,
  cancelling: goingBack,
  prepared: undecided,
  scheduled: { ...goingForward, 'skip-branch': nothingToSkip, forget: notStuck },
  delivering: goingForward,
  committed: endedRow,
  aborted: endedRow,
  forgotten: endedRow,
};

/** Why the action is not legal now; undefined when it is. */
export function whyIllegal(action: Action, status: Status, stuck: boolean): string | undefined {
  const legality = legalTable[status][action];
  if (legality === 'legal') return undefined;
  if (legality !== 'when-stuck') return legality.never;
  return stuck ? undefined : 'no branch is stuck; it is still being worked on';
}

/**
 * Why the action is not legal on this very transaction: the table, and what only its branches can tell.
 * Undefined when `evolve` accepts it. `branch`: which one `skip-branch` means.
 */
export function whyIllegalHere(
  action: Action,
  plan: Plan,
  state: State,
  branch?: string,
): string | undefined {
  const stuck = stuckBranches(plan, state).map((view): string => view.branch);
  const why = whyIllegal(action, state.kind, stuck.length > 0);
  if (why !== undefined) return why;
  if (action === 'skip-branch' && (branch === undefined || !stuck.includes(branch))) {
    return `name a branch that is stuck: ${stuck.join(', ')}`;
  }
  if (action === 'force-commit' && plan.pattern === 'tcc' && state.kind === 'trying') {
    const names = untried(plan, state);
    if (names.length > 0) return `not tried, so there is nothing to confirm: ${names.join(', ')}`;
  }
  return undefined;
}
