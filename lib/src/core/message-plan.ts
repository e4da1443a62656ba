import { SettleError } from '../util/errors.ts';
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

/** A two-phase message as its producer writes it. */
export interface MessageDefinition extends PlanCommon {
  /**
   * Whom to ask whether the producer's local transaction committed, should the producer not say so itself.
   * With it the message starts prepared; without it, it is delivered at once.
   */
  readonly check?: CallSpec;
  /** Milliseconds from prepare until the first question. Default 10,000. */
  readonly checkAfterMs?: number;
  /** Milliseconds between the decision to deliver and the first delivery. Default 0. */
  readonly delayMs?: number;
  readonly targets: readonly MessageTargetDefinition[];
  /** Default: all targets at once. */
  readonly order?: 'parallel' | 'sequence';
}

export interface MessageTargetDefinition {
  readonly name: string;
  readonly deliver: CallSpec;
  readonly retry?: RetryPolicy;
}

export interface MessagePlan extends PlanCommon {
  readonly pattern: 'message';
  readonly check?: CallSpec;
  readonly checkAfterMs: number;
  readonly delayMs: number;
  readonly targets: readonly MessageTarget[];
  readonly order: 'parallel' | 'sequence';
}

export interface MessageTarget extends MessageTargetDefinition {
  readonly name: BranchName;
}

export const checkAfterDefaultMs = 10_000;

/** The branch under which the check-back is called, and the producer's barrier row stands; no target may bear it. */
export const producerBranch: BranchName = parseBranchName('producer');

/** Checks a definition. Throws `invalid_definition` that names the target and what to change. */
export function planMessage(definition: MessageDefinition): MessagePlan {
  checkCommon(definition);
  checkNumber('checkAfterMs', definition.checkAfterMs, 0);
  checkNumber('delayMs', definition.delayMs, 0);
  const { targets, order = 'parallel', delayMs = 0, checkAfterMs = checkAfterDefaultMs, check } = definition;
  if (targets.length === 0) {
    throw new SettleError('invalid_definition', `the message ${definition.name} has no targets`, {
      next: 'Name at least one target',
    });
  }
  checkUniqueNames([producerBranch, ...targets.map((target) => target.name)], 'target');
  if (check !== undefined) checkCallSpec('the check-back', check);
  const planned = targets.map((target): MessageTarget => {
    checkCallSpec(`the delivery to ${target.name}`, target.deliver);
    checkRetry(`target ${target.name}`, target.retry);
    return { ...target, name: parseBranchName(target.name) };
  });
  return { ...definition, pattern: 'message', targets: planned, order, delayMs, checkAfterMs };
}
