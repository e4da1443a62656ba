import { SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';
import {
  checkCallSpec,
  checkCommon,
  checkNumber,
  checkRetry,
  checkUniqueNames,
  type PlanCommon,
} from './plan.ts';
import type { CallSpec } from './call-spec.ts';
import { parseBranchName, type BranchName } from './ids.ts';
import type { RetryPolicy } from './retry-policy.ts';

/** A saga as its author writes it: steps by name, in any order their dependencies allow. */
export interface SagaDefinition extends PlanCommon {
  readonly input?: Json;
  /** Milliseconds from submit after which what was done is compensated; without it, never. */
  readonly timeoutMs?: number;
  readonly steps: readonly SagaStepDefinition[];
}

export interface SagaStepDefinition {
  readonly name: string;
  readonly action: CallSpec;
  /** Without it, nothing is undone for this step. */
  readonly compensation?: CallSpec;
  /** Steps that must be done first. Default: the step written before this one. `[]`: none. */
  readonly after?: readonly string[];
  /**
   * The point of no return: once done, the saga only goes forward. At most one. Nothing can undo it, so its refusal is
   * believed even after an attempt without an answer: a repeat must get the first answer, as the barrier sees to.
   */
  readonly pivot?: true;
  readonly retry?: RetryPolicy;
  /** What to do when the attempts are used up: undo the saga (default), or wait for a person. */
  readonly onExhausted?: 'compensate' | 'park';
}

/** A checked saga: steps in an order in which every one stands behind what it depends on. */
export interface SagaPlan extends PlanCommon {
  readonly pattern: 'saga';
  readonly input?: Json;
  readonly timeoutMs?: number;
  readonly steps: readonly SagaStep[];
}

export interface SagaStep {
  readonly name: BranchName;
  readonly action: CallSpec;
  readonly compensation?: CallSpec;
  /** Positions in `steps` of the steps that must be done first; all smaller than its own. */
  readonly after: readonly number[];
  readonly pivot?: true;
  readonly retry?: RetryPolicy;
  readonly onExhausted?: 'compensate' | 'park';
}

/** Checks a definition. Throws `invalid_definition` that names the step and what to change. */
export function planSaga(definition: SagaDefinition): SagaPlan {
  checkCommon(definition);
  checkNumber('timeoutMs', definition.timeoutMs, 1);
  const { steps } = definition;
  if (steps.length === 0)
    throw invalid(`the saga ${definition.name} has no steps`, 'Give it at least one step');
  checkUniqueNames(
    steps.map((step) => step.name),
    'step',
  );
  const ordered = inDependencyOrder(steps);
  const plan: SagaPlan = { ...definition, pattern: 'saga', steps: ordered };
  for (const step of ordered) checkStep(ordered, step);
  checkPivot(ordered);
  return plan;
}

/** Kahn's algorithm, taking the earliest written step that is free, so that the order never surprises. */
function inDependencyOrder(steps: readonly SagaStepDefinition[]): readonly SagaStep[] {
  const position = new Map<string, number>();
  const ordered: SagaStep[] = [];
  let left = withDependencies(steps);
  while (left.length > 0) {
    const next = left.find(({ after }) => after.every((name) => position.has(name)));
    if (next === undefined) {
      throw invalid(
        `the steps ${left.map(({ step }) => step.name).join(', ')} wait for each other`,
        'Remove one of their `after` entries',
      );
    }
    const { step, after } = next;
    position.set(step.name, ordered.length);
    const positions = ordered.flatMap(({ name }, at) => (after.includes(name) ? [at] : []));
    ordered.push({ ...step, name: parseBranchName(step.name), after: positions });
    left = left.filter((other) => other !== next);
  }
  return ordered;
}

interface Dependent {
  readonly step: SagaStepDefinition;
  readonly after: readonly string[];
}

function withDependencies(steps: readonly SagaStepDefinition[]): readonly Dependent[] {
  const names = new Set(steps.map((step) => step.name));
  return steps.map((step, i) => {
    const after = step.after ?? steps.slice(Math.max(0, i - 1), i).map((previous) => previous.name);
    const stranger = after.find((name) => !names.has(name));
    if (stranger === undefined) return { step, after };
    throw invalid(
      `step ${step.name} comes after ${stranger}, which is not a step`,
      'Name a step of this saga in `after`',
    );
  });
}

function checkStep(steps: readonly SagaStep[], step: SagaStep): void {
  let before: ReadonlySet<string> | undefined;
  // Few steps refer to others, so it is found out only for those.
  const comesBefore = (name: string): boolean =>
    (before ??= new Set([...ancestorsOf(steps, step)].map((other) => other.name))).has(name);
  checkCallSpec(`step ${step.name}`, step.action, comesBefore);
  checkRetry(`step ${step.name}`, step.retry);
  if (step.compensation === undefined) return;
  // The undo may also use the step's own result.
  const isKnown = (name: string): boolean => name === step.name || comesBefore(name);
  checkCallSpec(`the compensation of step ${step.name}`, step.compensation, isKnown);
}

/** A pivot divides the saga: every other step stands either before it or after it. */
function checkPivot(steps: readonly SagaStep[]): void {
  const pivots = steps.filter((step) => step.pivot);
  if (pivots.length > 1) {
    throw invalid(`the steps ${pivots.map((step) => step.name).join(', ')} are all pivots`, 'Keep one pivot');
  }
  const [pivot] = pivots;
  if (pivot === undefined) return;
  const before = ancestorsOf(steps, pivot);
  for (const step of steps) {
    const after = step === pivot || ancestorsOf(steps, step).has(pivot);
    if (!after && !before.has(step)) {
      throw invalid(
        `step ${step.name} runs beside the pivot ${pivot.name}`,
        'Put it before or after the pivot with `after`',
      );
    }
    if (after && step.compensation !== undefined) {
      throw invalid(
        `step ${step.name} has a compensation that could never run: it is the pivot, or after it`,
        'Remove the compensation, or move the pivot',
      );
    }
    if (after && step.onExhausted === 'compensate') {
      throw invalid(
        `step ${step.name} cannot compensate when exhausted: it is the pivot, or after it`,
        "Use 'park'",
      );
    }
  }
}

/** All steps that must be done before this one. */
function ancestorsOf(steps: readonly SagaStep[], step: SagaStep): Set<SagaStep> {
  const found = new Set<SagaStep>();
  const visit = ({ after }: SagaStep): void => {
    for (const dependency of after.map((at) => steps[at])) {
      if (dependency === undefined || found.has(dependency)) continue;
      found.add(dependency);
      visit(dependency);
    }
  };
  visit(step);
  return found;
}

function invalid(what: string, next: string): SettleError {
  return new SettleError('invalid_definition', what, { next });
}
