import type { Definition } from '../core/patterns.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import { planSaga, type SagaStepDefinition } from '../core/saga-plan.ts';
import type { TransactionOutcome } from './outcome.ts';
import { callSpec, type PayloadWithReferences } from './references.ts';
import type { SubmitOptions } from './settle.ts';

export interface SagaUrlOptions {
  /** Milliseconds from submit after which what was done is compensated. Default: never. */
  readonly timeoutMs?: number;
  /** Milliseconds one call may take. Default: the coordinator's. */
  readonly callTimeoutMs?: number;
}

export interface SagaUrlStep {
  /** The http(s) URL asked to do it. */
  readonly action: string;
  /** The URL asked to undo it. Without it, nothing is undone for this step. */
  readonly compensate?: string;
  /** For both. Members may come {@link from} the results of steps that come before this one. */
  readonly payload?: PayloadWithReferences;
  /** For the compensation alone, where it differs; it may also take members from the step's own result. */
  readonly compensatePayload?: PayloadWithReferences;
  /** Steps that must be done first. Default: the step written before this one. `[]`: none. */
  readonly after?: readonly string[];
  /** The point of no return: once done, the saga only goes forward. At most one. */
  readonly pivot?: true;
  readonly retry?: RetryPolicy;
  /** What to do when the attempts of `retry` are used up: undo the saga (default), or wait for a person. */
  readonly onExhausted?: 'compensate' | 'park';
}

/** A saga of URLs, any language behind them. Immutable: each `step` gives a new one. */
export interface SagaBuilder {
  step(name: string, step: SagaUrlStep): SagaBuilder;
  /** Checks and gives the definition. Throws `invalid_definition` that names the step and what to change. */
  definition(): Definition;
  /**
   * Submits it. Fulfils once it is durable, and has ended or `waitMs` are over (default 0: only durable).
   * Throws `invalid_definition`, `gid_conflict`, `address_not_allowed`, `unavailable`, and so on.
   */
  submit(options?: SubmitOptions): Promise<TransactionOutcome>;
}

export type Submit = (
  definition: Definition,
  options: SubmitOptions | undefined,
) => Promise<TransactionOutcome>;

export function sagaBuilder(
  name: string,
  options: SagaUrlOptions,
  submit: Submit,
  steps: readonly SagaStepDefinition[] = [],
): SagaBuilder {
  const definition = (): Definition => {
    const saga = { name, ...options, steps };
    planSaga(saga);
    return { pattern: 'saga', ...saga };
  };
  return {
    step: (stepName, step) => sagaBuilder(name, options, submit, [...steps, stepDefinition(stepName, step)]),
    definition,
    submit: async (submitOptions) => submit(definition(), submitOptions),
  };
}

function stepDefinition(name: string, step: SagaUrlStep): SagaStepDefinition {
  const { action, compensate, payload, compensatePayload, ...policy } = step;
  const definition = { name, ...policy, action: callSpec(action, payload) };
  // Without a payload of its own, core gives the compensation that of the action.
  return compensate === undefined
    ? definition
    : { ...definition, compensation: callSpec(compensate, compensatePayload) };
}
