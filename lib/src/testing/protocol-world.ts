/**
 * One transaction, its participants and what can befall them, as a pure value: a world and the moves out of it.
 *
 * Owns: what a correct engine may do with the pure core, what the network and a crash may do to it, and what really
 * happened at the participants, whose barrier is correct. Does not own: which move is taken (explore.ts takes all,
 * property tests take some).
 *
 * - W1 A call leaves only after what it rests on is saved (D2, D3); a crash falls back to what was saved.
 * - W2 A branch has at most one call under way (R3 of engine/runner).
 * - W3 A participant that `keeps` its answers repeats them. Another one has an effect at most once, but may refuse what
 *      it did before, or do what it refused before.
 * - W4 A compensation or cancel that finds nothing leaves a mark: what it undoes is refused from then on.
 */
import { whyIllegal, actions, type Action } from '../core/legal.ts';
import { producerBranch } from '../core/message-plan.ts';
import type { Op, Outcome } from '../core/outcome.ts';
import { branches, effects, evolve, isTerminal, start, stuckBranches } from '../core/patterns.ts';
import type { Plan, State } from '../core/patterns.ts';
import type { BranchName } from '../core/ids.ts';
import type { Event } from '../core/protocol.ts';
import { untried } from '../core/tcc.ts';

export interface Setting {
  readonly plan: Plan;
  /** Participants that answer a repeat like the first time, refusals included. Default: all. */
  readonly keeps?: (branch: string) => boolean;
  /** Whether progress is also saved when nothing needs it. Default: only when needed. */
  readonly saves?: 'when-needed' | 'any-time';
  readonly faults: Faults;
}

/** How often each may still happen. */
export interface Faults {
  /** The coordinator dies and is recovered from what was saved. */
  readonly crashes: number;
  /** A call ends without an answer, and may arrive later. */
  readonly losses: number;
  /** A request, or an answer, comes twice. */
  readonly duplicates: number;
  /** A participant says no, be it allowed to or not. */
  readonly refusals: number;
  /** Somebody takes one of the legal actions. */
  readonly actions: number;
}

export interface World {
  readonly state: State;
  /** What a crash leaves. */
  readonly saved: State;
  /** Something must be saved before a call leaves. */
  readonly gate: boolean;
  readonly calls: readonly Underway[];
  /** Requests whose answer nobody waits for; they may arrive at any time, or never. */
  readonly strays: readonly Ask[];
  /** Answers that come a second time. */
  readonly echoes: readonly Underway[];
  readonly ledger: Readonly<Record<string, Entry>>;
  readonly left: Faults;
  /** The decision that was saved first. */
  readonly decided: Decision;
  /** A person decided without knowing: what really happened may differ from it. */
  readonly forced: boolean;
}

export interface Move {
  readonly name: string;
  readonly next: () => World;
}

type Decision = 'none' | 'commit' | 'abort';

interface Ask {
  readonly branch: BranchName;
  readonly op: Op;
}

interface Underway extends Ask {
  readonly answer?: Outcome;
}

/** What really happened at one participant. */
export interface Entry {
  /** Action, try, or the local transaction of a message's producer. */
  readonly forward: 'open' | 'done' | 'refused';
  /** `empty`: undone although there was nothing to undo. */
  readonly ending: 'open' | 'confirmed' | 'undone' | 'empty';
}

export class InvariantBroken extends Error {
  override readonly name = 'InvariantBroken';
}

export function firstWorld({ plan, faults }: Setting): World {
  const state = start(plan, 0);
  const strays = plan.pattern === 'tcc' ? plan.branches.filter((spec) => spec.try === undefined) : [];
  const producer = plan.pattern === 'message' && plan.check !== undefined ? [producerBranch] : [];
  const names = new Set([...producer, ...branches(plan, state).map(({ branch }) => branch)]);
  return {
    state,
    saved: state,
    gate: false,
    calls: [],
    // The initiator of a TCC calls some tries itself.
    strays: strays.map(({ name }): Ask => ({ branch: name, op: 'try' })),
    echoes: [],
    ledger: Object.fromEntries([...names].map((name) => [name, { forward: 'open', ending: 'open' }])),
    left: faults,
    decided: 'none',
    forced: false,
  };
}

/** Everything that may happen next. What heals comes first: {@link settle} takes the first move of all. */
export function moves(setting: Setting, world: World): readonly Move[] {
  // Nothing is promised of what a person took over.
  if (world.state.kind === 'forgotten') return [];
  return [
    ...answers(setting, world),
    ...arrivals(setting, world),
    ...departures(setting, world),
    ...initiatorsMoves(setting, world),
    ...strayArrivals(setting, world),
    ...clocks(setting, world),
    ...faultMoves(setting, world),
    ...actionMoves(setting, world),
  ];
}

/** Without any further fault, and with a person who retries what is parked: the end that must come. */
export function settle(setting: Setting, from: World): World {
  let world: World = { ...from, left: { crashes: 0, losses: 0, duplicates: 0, refusals: 0, actions: 0 } };
  for (let i = 0; i < 1_000; i++) {
    const parked = stuckBranches(setting.plan, world.state).some(({ status }) => status === 'parked');
    const move = parked ? telling(setting, world, { kind: 'retry-now', at: 0 }) : moves(setting, world)[0];
    if (move === undefined) return world;
    world = move.next();
    check(setting, world);
    checkState(setting, world.state);
  }
  throw new InvariantBroken(`does not come to rest: ${JSON.stringify(world.state)}`);
}

// ---- what the coordinator does

/**
 * A call leaves and arrives at once: what happens in between concerns it only if it is lost, or left behind by a
 * crash, so only for these it may be under way without having arrived.
 */
function departures(setting: Setting, world: World): readonly Move[] {
  const { plan } = setting;
  const { crashes, losses, duplicates } = world.left;
  return effects(plan, world.state).flatMap((effect): readonly Move[] => {
    if (effect.kind !== 'call' || world.calls.some(({ branch }) => branch === effect.branch)) return [];
    const { branch, op } = effect;
    const call: Underway = { branch, op };
    checkDeparture(plan, world, call);
    // W1
    const durable = world.gate ? saved(world) : world;
    const state = evolve(plan, durable.state, { kind: 'sent', at: 0, branch, op });
    const sent = normal({ ...durable, state });
    const found: Move[] = [];
    for (const { after, answer } of arrive(setting, sent, call)) {
      const calls = sorted([...world.calls, { ...call, answer }]);
      const name = `call ${op} ${branch}: ${answer.kind}`;
      found.push({ name, next: () => ({ ...after(), calls }) });
      if (duplicates === 0 || !keeps(setting, branch)) continue;
      const twice = (): World => ({
        ...spend(after(), 'duplicates'),
        calls,
        strays: sorted([...world.strays, call]),
      });
      found.push({ name: `${name} (leaves twice)`, next: twice });
    }
    if (crashes > 0 || losses > 0) {
      found.push({
        name: `send ${op} ${branch}`,
        next: () => ({ ...sent, calls: sorted([...world.calls, call]) }),
      });
    }
    return found;
  });
}

function answers(setting: Setting, world: World): readonly Move[] {
  return world.calls.flatMap((call): readonly Move[] => {
    const { answer } = call;
    if (answer === undefined) return [];
    const heard = (): World => {
      const calls = world.calls.filter((other) => other !== call);
      return hear(setting, { ...world, calls }, call, answer);
    };
    const once = { name: `answer ${call.op} ${call.branch} ${answer.kind}`, next: heard };
    if (world.left.duplicates === 0) return [once];
    const twice = (): World => ({ ...spend(heard(), 'duplicates'), echoes: [...world.echoes, call] });
    return [once, { name: `${once.name} (comes twice)`, next: twice }];
  });
}

function clocks(setting: Setting, world: World): readonly Move[] {
  return effects(setting.plan, world.state).flatMap((effect) =>
    effect.kind === 'wake' ? [telling(setting, world, { kind: 'clock', at: effect.at }, false)] : [],
  );
}

/** An event that is durable before anything else leaves, unless it is none of a person's. */
function telling({ plan }: Setting, world: World, event: Event, gate = true): Move {
  return {
    name: 'branch' in event ? `${event.kind} ${event.branch}` : event.kind,
    next: () => advanced(world, evolve(plan, world.state, event), gate),
  };
}

function hear(setting: Setting, world: World, { branch, op }: Ask, outcome: Outcome): World {
  const state = evolve(setting.plan, world.state, { kind: 'outcome', at: 0, branch, op, outcome });
  return advanced(world, state, outcome.kind === 'done' && !keeps(setting, branch));
}

function advanced(world: World, state: State, gate: boolean): World {
  if (state === world.state) return world;
  return normal({ ...world, state, gate: world.gate || gate || state.kind !== world.state.kind });
}

/** When no crash is left to come, what was saved no longer matters. */
function normal(world: World): World {
  return world.left.crashes > 0 || world.saved === world.state ? world : saved(world);
}

function saved(world: World): World {
  const decision = decisionOf(world.state);
  broken(
    world.decided !== 'none' && decision !== world.decided && world.state.kind !== 'forgotten',
    `two decisions: ${world.decided}, then ${world.state.kind}`,
  );
  return {
    ...world,
    saved: world.state,
    gate: false,
    decided: world.decided === 'none' ? decision : world.decided,
  };
}

// ---- what participants do

/** What was under way arrives after all once it can no longer be lost. */
function arrivals(setting: Setting, world: World): readonly Move[] {
  const { crashes, losses } = world.left;
  if (crashes > 0 || losses > 0) return [];
  return world.calls.flatMap((call): readonly Move[] =>
    call.answer !== undefined
      ? []
      : arrive(setting, world, call).map(({ after, answer }) => ({
          name: `arrive ${call.op} ${call.branch}: ${answer.kind}`,
          next: () => ({
            ...after(),
            calls: world.calls.map((other) => (other === call ? { ...call, answer } : other)),
          }),
        })),
  );
}

/** A stray meets only what else happens to its branch: it arrives right before that, or after the end. */
function strayArrivals(setting: Setting, world: World): readonly Move[] {
  const open = effects(setting.plan, world.state);
  const isMet = ({ branch }: Ask): boolean =>
    open.length === 0 || open.some((effect) => effect.kind === 'call' && effect.branch === branch);
  return world.strays.filter(isMet).flatMap((stray) =>
    arrive(setting, world, stray).map(({ after, answer }) => ({
      name: `stray ${stray.op} ${stray.branch}: ${answer.kind}`,
      next: () => ({ ...after(), strays: world.strays.filter((other) => other !== stray) }),
    })),
  );
}

interface Arrival {
  readonly answer: Outcome;
  readonly after: () => World;
}

const yes: Outcome = { kind: 'done' };
const no: Outcome = { kind: 'refused', reason: 'no' };

function arrive(setting: Setting, world: World, { branch, op }: Ask): readonly Arrival[] {
  const entry = world.ledger[branch] ?? { forward: 'open', ending: 'open' };
  const { forward, ending } = entry;
  const known = keeps(setting, branch);
  const nothing = (answer: Outcome): Arrival => ({ answer, after: () => world });
  const becomes = (answer: Outcome, change: Partial<Entry>, from = world): Arrival => ({
    answer,
    after: () => ({ ...from, ledger: { ...from.ledger, [branch]: { ...entry, ...change } } }),
  });
  const refusal = (change: Partial<Entry>): readonly Arrival[] =>
    world.left.refusals > 0 ? [becomes(no, change, spend(world, 'refusals'))] : [];
  switch (op) {
    case 'action':
    case 'try':
      // W4
      if (ending === 'undone' || ending === 'empty') return [nothing(no)];
      if (forward === 'done') return known ? [nothing(yes)] : [nothing(yes), ...refusal({})];
      if (forward === 'refused') {
        // A refusal after the decision to commit is repeated until a person mends its cause.
        if (decisionOf(world.state) === 'commit') return [becomes(yes, { forward: 'done' })];
        return known ? [nothing(no)] : [becomes(yes, { forward: 'done' }), ...refusal({})];
      }
      return [
        becomes(yes, { forward: 'done' }),
        ...refusal(setting.plan.pattern === 'message' ? {} : { forward: 'refused' }),
      ];
    case 'compensate':
    case 'cancel': {
      broken(ending === 'confirmed', `${branch} is confirmed and cancelled`);
      if (ending !== 'open') return [nothing(yes)];
      if (forward !== 'done') return [becomes(yes, { ending: 'empty' }), ...refusal({})];
      checkUndo(setting.plan, world, branch);
      return [becomes(yes, { ending: 'undone' }), ...refusal({})];
    }
    case 'confirm':
      broken(ending === 'undone' || ending === 'empty', `${branch} is cancelled and confirmed`);
      // A person who forces a commit vouches for the tries that the initiator was to call.
      broken(forward !== 'done' && !world.forced, `${branch} is confirmed and was never tried`);
      return [becomes(yes, { forward: 'done', ending: 'confirmed' }), ...refusal({})];
    case 'check':
      return forward === 'done' ? [nothing(yes)] : [becomes(no, { forward: 'refused' })];
  }
}

/** The producer of a message, the initiator of a TCC. */
function initiatorsMoves(setting: Setting, world: World): readonly Move[] {
  const { plan } = setting;
  const { state } = world;
  if (plan.pattern === 'tcc' && state.kind === 'trying' && plan.decide === 'initiator') {
    const tried = branches(plan, state).every(({ branch }) => world.ledger[branch]?.forward === 'done');
    return tried && untried(plan, state).length === 0
      ? [telling(setting, world, { kind: 'commit', at: 0 })]
      : [];
  }
  const local = world.ledger[producerBranch];
  if (plan.pattern !== 'message' || local === undefined) return [];
  const found: Move[] = [];
  const ends = (forward: 'done' | 'refused'): Move => ({
    name: `local transaction: ${forward}`,
    next: () => ({ ...world, ledger: { ...world.ledger, [producerBranch]: { ...local, forward } } }),
  });
  if (local.forward === 'open') found.push(ends('done'), ends('refused'));
  if (state.kind !== 'prepared') return found;
  if (local.forward === 'done') found.push(telling(setting, world, { kind: 'commit', at: 0 }));
  if (local.forward === 'refused') {
    found.push(telling(setting, world, { kind: 'abort', at: 0, reason: 'rolled back' }));
  }
  return found;
}

// ---- what goes wrong, and what people do

function faultMoves(setting: Setting, world: World): readonly Move[] {
  const { left, calls, strays, echoes } = world;
  const found: Move[] = [];
  for (const call of left.losses > 0 ? calls : []) {
    found.push({
      name: `lose ${call.op} ${call.branch}`,
      next() {
        const without = { ...spend(world, 'losses'), calls: calls.filter((other) => other !== call) };
        const late = call.answer === undefined ? sorted([...strays, call]) : strays;
        return hear(setting, { ...without, strays: late }, call, { kind: 'unknown', reason: 'timeout' });
      },
    });
  }
  // The timer of a wake that nothing asks for any more: what it tells changes nothing.
  if (left.duplicates > 0) found.push(telling(setting, world, { kind: 'clock', at: 1_000 }, false));
  for (const echo of echoes) {
    const { answer } = echo;
    if (answer === undefined) continue;
    found.push({
      name: `hear again ${echo.op} ${echo.branch} ${answer.kind}`,
      next: () => hear(setting, { ...world, echoes: echoes.filter((other) => other !== echo) }, echo, answer),
    });
  }
  if (left.crashes > 0) {
    if (setting.saves === 'any-time' && world.saved !== world.state)
      found.push({ name: 'save', next: () => saved(world) });
    found.push({ name: 'crash', next: () => crashed(setting, world) });
  }
  return found;
}

function crashed({ plan }: Setting, world: World): World {
  const lost = world.calls.flatMap(({ branch, op, answer }) =>
    answer === undefined ? [{ branch, op }] : [],
  );
  const state = evolve(plan, world.saved, { kind: 'recovered', at: 0 });
  const strays = sorted([...world.strays, ...lost]);
  return normal({ ...spend(world, 'crashes'), state, gate: false, calls: [], echoes: [], strays });
}

/** What the legal table allows, where anything that is still wanted counts as stuck. */
function actionMoves(setting: Setting, world: World): readonly Move[] {
  const { plan } = setting;
  const { state } = world;
  if (world.left.actions === 0) return [];
  const stuck = stuckBranches(plan, state, 0);
  return actions.flatMap((action): readonly Move[] => {
    if (whyIllegal(action, state.kind, stuck.length > 0) !== undefined) return [];
    if (action === 'force-commit' && state.kind === 'trying' && plan.pattern === 'tcc') {
      if (untried(plan, state).length > 0) return [];
    }
    return eventsOf(
      action,
      stuck.map(({ branch }) => branch),
    ).map((event) => {
      const { name, next } = telling(setting, world, event);
      const forced = world.forced || isForced(plan, action);
      return { name: `act: ${name}`, next: () => ({ ...spend(next(), 'actions'), forced }) };
    });
  });
}

export function eventsOf(action: Action, names: readonly BranchName[]): readonly Event[] {
  if (action === 'retry-now') return [{ kind: action, at: 0 }];
  if (action === 'skip-branch')
    return names.map((branch) => ({ kind: action, at: 0, branch, reason: 'a person' }));
  return [{ kind: action, at: 0, reason: 'a person' }];
}

function isForced(plan: Plan, action: Action): boolean {
  return (
    action === 'force-abort' ||
    action === 'force-commit' ||
    (plan.pattern === 'message' && action === 'abort')
  );
}

// ---- invariants

/** Throws {@link InvariantBroken} when what happened at the participants is not what the state claims. */
export function check({ plan }: Setting, world: World): void {
  const { state } = world;
  const decision = decisionOf(state);
  broken(
    world.decided !== 'none' && decision !== world.decided && state.kind !== 'forgotten',
    `decided to ${world.decided}, now ${state.kind}`,
  );
  const facts = branches(plan, state).map(({ branch, status }) => ({
    name: branch,
    skipped: status === 'skipped',
    ...(world.ledger[branch] ?? { forward: 'open', ending: 'open' }),
  }));
  for (const fact of facts) {
    if (fact.skipped) continue;
    const { name, forward, ending } = fact;
    const message = plan.pattern === 'message';
    broken(
      decision === 'commit' && (ending === 'undone' || ending === 'empty'),
      `${name} is undone, yet ${state.kind}`,
    );
    broken(decision === 'abort' && ending === 'confirmed', `${name} is confirmed, yet ${state.kind}`);
    broken(
      state.kind === 'committed' && name !== producerBranch && forward !== 'done',
      `${name} is not done, yet committed`,
    );
    broken(
      state.kind === 'committed' && plan.pattern === 'tcc' && ending !== 'confirmed',
      `${name} is not confirmed, yet committed`,
    );
    broken(
      state.kind === 'aborted' &&
        !message &&
        forward === 'done' &&
        ending !== 'undone' &&
        canBeUndone(plan, name),
      `${name} stands, yet aborted`,
    );
    broken(
      decision === 'abort' && !world.forced && forward === 'done' && isPivot(plan, name),
      `the pivot ${name} stands, yet ${state.kind}`,
    );
  }
  if (plan.pattern === 'message') checkMessage(world);
}

/** What holds of a state whatever happened around it. Throws {@link InvariantBroken}. */
export function checkState({ plan }: Setting, state: State): void {
  const open = effects(plan, state);
  broken(isTerminal(state) && open.length > 0, `${state.kind} has effects`);
  broken(
    !isTerminal(state) && open.length === 0 && stuckBranches(plan, state).length === 0,
    `${state.kind} has nothing to do, and nobody is told`,
  );
  checkNevers(plan, state);
}

/** M1, M2 */
function checkMessage({ state, ledger, forced }: World): void {
  const local = ledger[producerBranch];
  if (local === undefined || forced) return;
  const delivered = Object.entries(ledger).some(
    ([name, { forward }]) => name !== producerBranch && forward === 'done',
  );
  broken(delivered && local.forward !== 'done', 'delivered, but the producer did not commit');
  broken(state.kind === 'aborted' && local.forward === 'done', 'dropped, but the producer committed');
}

/** S1: a step is asked only after what it comes after. */
function checkDeparture(plan: Plan, world: World, { branch, op }: Ask): void {
  if (plan.pattern !== 'saga' || op !== 'action') return;
  const views = branches(plan, world.state);
  for (const at of plan.steps.find(({ name }) => name === branch)?.after ?? []) {
    const before = views[at];
    const fact = before === undefined ? undefined : world.ledger[before.branch];
    broken(
      before?.status !== 'skipped' && fact?.forward !== 'done',
      `${branch} is asked before ${before?.branch}`,
    );
  }
}

/** S4: a step is undone only after everything that came after it. */
function checkUndo(plan: Plan, world: World, branch: BranchName): void {
  if (plan.pattern !== 'saga') return;
  const views = branches(plan, world.state);
  const at = plan.steps.findIndex(({ name }) => name === branch);
  plan.steps.forEach((later, i) => {
    if (later.compensation === undefined || !comesAfter(plan.steps, i, at) || views[i]?.status === 'skipped')
      return;
    const { forward, ending } = world.ledger[later.name] ?? { forward: 'open', ending: 'open' };
    broken(forward === 'done' && ending === 'open', `${branch} is undone before ${later.name}`);
  });
}

function comesAfter(
  steps: readonly { readonly after: readonly number[] }[],
  later: number,
  earlier: number,
): boolean {
  return steps[later]?.after.some((i) => i === earlier || comesAfter(steps, i, earlier)) ?? false;
}

/** What the legal table never allows is an assertion in `evolve`. */
function checkNevers(plan: Plan, state: State): void {
  for (const action of actions) {
    if (whyIllegal(action, state.kind, true) === undefined) continue;
    for (const event of eventsOf(
      action,
      branches(plan, state).map(({ branch }) => branch),
    )) {
      broken(isAccepted(plan, state, event), `${action} is accepted in ${state.kind}`);
    }
  }
}

function isAccepted(plan: Plan, state: State, event: Event): boolean {
  try {
    evolve(plan, state, event);
    return true;
  } catch {
    return false;
  }
}

export function decisionOf({ kind }: State): Decision {
  switch (kind) {
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
    default:
      return 'none';
  }
}

function canBeUndone(plan: Plan, branch: string): boolean {
  return (
    plan.pattern !== 'saga' ||
    plan.steps.some(({ name, compensation }) => name === branch && compensation !== undefined)
  );
}

function isPivot(plan: Plan, branch: string): boolean {
  return plan.pattern === 'saga' && plan.steps.some(({ name, pivot }) => name === branch && pivot);
}

function keeps(setting: Setting, branch: string): boolean {
  return setting.keeps?.(branch) ?? true;
}

function spend(world: World, fault: keyof Faults): World {
  return { ...world, left: { ...world.left, [fault]: world.left[fault] - 1 } };
}

/** Worlds that differ only in the order of their calls are one. */
function sorted<T extends Ask>(asks: readonly T[]): readonly T[] {
  return asks.toSorted((a, b) => (`${a.branch} ${a.op}` < `${b.branch} ${b.op}` ? -1 : 1));
}

function broken(condition: boolean, what: string): void {
  if (condition) throw new InvariantBroken(what);
}
