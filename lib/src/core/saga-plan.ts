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
  ordered.forEach((step, position) => checkStep(ordered, step, position));
  checkPivot(ordered);
  return plan;
}

/** Kahn's algorithm, taking the earliest written step that is free, so that the order never surprises. */
function inDependencyOrder(steps: readonly SagaStepDefinition[]): readonly SagaStep[] {
  const dependencies = new Map<string, readonly string[]>();
  steps.forEach((step, i) => {
    const previous = steps[i - 1];
    dependencies.set(step.name, step.after ?? (previous === undefined ? [] : [previous.name]));
  });
  for (const [name, after] of dependencies) {
    const stranger = after.find((other) => !dependencies.has(other));
    if (stranger !== undefined) {
      throw invalid(
        `step ${name} comes after ${stranger}, which is not a step`,
        'Name a step of this saga in `after`',
      );
    }
  }
  const position = new Map<string, number>();
  const ordered: SagaStep[] = [];
  while (ordered.length < steps.length) {
    const next = steps.find(
      (step) => !position.has(step.name) && dependencies.get(step.name)?.every((name) => position.has(name)),
    );
    if (next === undefined) {
      const left = steps.filter((step) => !position.has(step.name)).map((step) => step.name);
      throw invalid(
        `the steps ${left.join(', ')} wait for each other`,
        'Remove one of their `after` entries',
      );
    }
    const after = (dependencies.get(next.name) ?? []).map((name) => position.get(name) ?? 0);
    position.set(next.name, ordered.length);
    ordered.push({ ...next, name: parseBranchName(next.name), after });
  }
  return ordered;
}

function checkStep(steps: readonly SagaStep[], step: SagaStep, position: number): void {
  const before = new Set([...ancestors(steps, position)].map((i) => steps[i]?.name as string));
  checkCallSpec(`step ${step.name}`, step.action, before);
  checkRetry(`step ${step.name}`, step.retry);
  // The undo may also use the step's own result.
  if (step.compensation !== undefined) {
    checkCallSpec(`the compensation of step ${step.name}`, step.compensation, before.add(step.name));
  }
}

/** A pivot divides the saga: every other step stands either before it or after it. */
function checkPivot(steps: readonly SagaStep[]): void {
  const pivots = steps.filter((step) => step.pivot);
  if (pivots.length > 1) {
    throw invalid(`the steps ${pivots.map((step) => step.name).join(', ')} are all pivots`, 'Keep one pivot');
  }
  const at = steps.findIndex((step) => step.pivot);
  if (at < 0) return;
  const before = ancestors(steps, at);
  steps.forEach((step, i) => {
    const after = i === at || ancestors(steps, i).has(at);
    if (!after && !before.has(i)) {
      throw invalid(
        `step ${step.name} runs beside the pivot ${steps[at]?.name ?? ''}`,
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
  });
}

/** Positions of all steps that must be done before this one. */
export function ancestors(steps: readonly SagaStep[], position: number): Set<number> {
  const found = new Set<number>();
  const visit = (i: number): void => {
    for (const dependency of steps[i]?.after ?? []) {
      if (found.has(dependency)) continue;
      found.add(dependency);
      visit(dependency);
    }
  };
  visit(position);
  return found;
}

function invalid(what: string, next: string): SettleError {
  return new SettleError('invalid_definition', what, { next });
}
