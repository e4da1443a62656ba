/**
 * A saga as code: each step's effect and the way to undo it declared together, as functions.
 *
 * Steps are added one at a time, because that is what lets TypeScript know in each step what the earlier ones gave
 * back: in one object literal no property's type can rest on that of its neighbour.
 */
import { inputReference, type Reference } from '../core/call-spec.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import { planSaga, type SagaStepDefinition } from '../core/saga-plan.ts';
import type { Json } from '../util/json.ts';
import {
  checkDefinitionName,
  parseInput,
  type CodeDefinition,
  type FunctionContext,
  type InputOf,
  type DefinitionOptions,
  type InputSchema,
  type StoredInputOf,
} from './definition.ts';
import {
  functionAddress,
  type AddressOf,
  type FunctionCall,
  type FunctionRegistry,
  type RegisteredFunction,
} from './functions.ts';
import { contextWith, given } from './given.ts';
import { toStored, type Stored } from './stored.ts';

export interface SagaOptions<S extends InputSchema> extends DefinitionOptions<S> {
  /** Milliseconds from submit after which what was done is undone. Default: never. */
  readonly timeoutMs?: number;
}

/**
 * Defines a saga: steps that are done one after the other, or side by side by `after`; when one refuses, what was
 * done is undone in reverse order.
 *
 * Guarantees: in the end all steps are done, or all that may have happened were undone. Not guaranteed: isolation
 * (others see the steps as they happen) and that a function runs once (it runs at least once: use a barrier, or make
 * it idempotent). Throws `invalid_definition` as soon as a step cannot be: a repeated name, two pivots, and so on.
 *
 * ```ts
 * const placeOrder = saga('place-order', { input: OrderSchema })
 *   .step('reserve', {
 *     do: (order) => stock.reserve(order.sku, order.quantity),
 *     undo: (order, reserved) => stock.release(order.sku, reserved?.id),
 *   })
 *   .step('charge', { do: (order, ctx) => wallet.charge(order.user, ctx.results.reserve.total) });
 * ```
 */
export function saga<S extends InputSchema = undefined>(
  name: string,
  options: SagaOptions<S> = {},
): Saga<InputOf<S>, StoredInputOf<S>> {
  checkDefinitionName(name);
  const { input, ...rest } = options;
  return build({ name, schema: input, options: rest, steps: [], functions: new Map() });
}

export interface Saga<
  Input,
  StoredInput,
  Steps extends object = object,
  Last extends string = never,
> extends CodeDefinition<Input, ResultsOf<Steps>> {
  readonly pattern: 'saga';
  /**
   * The saga with one more step. `ctx.results` holds the results of the steps that come before this one: by default
   * the one written before it and all that came before that; with `after`, the named ones and all before those.
   * A step that an operator skipped has no result there: the types do not say so, since it takes a person to happen.
   */
  step<
    Name extends string,
    Result,
    const After extends readonly (keyof Steps & string)[] = readonly (Last & keyof Steps & string)[],
  >(
    name: Name extends keyof Steps ? never : Name,
    step: SagaStepFunctions<StoredInput, Pick<ResultsOf<Steps>, Before<Steps, After>>, Result, After>,
  ): Saga<
    Input,
    StoredInput,
    Steps & Record<Name, { readonly result: Stored<Result>; readonly before: Before<Steps, After> }>,
    Name
  >;
}

export interface SagaStepFunctions<Input, Results, Result, After> {
  /** Steps that must be done first. Default: the step written before this one. `[]`: none. */
  readonly after?: After;
  /** The effect. Throw `Refused` to say no and have the saga undone; anything else thrown is asked again. */
  readonly do: (input: Input, ctx: SagaContext<Results>) => Result | Promise<Result>;
  /**
   * Undoes the effect. `result` is undefined when the call ended unknown: the effect may or may not have happened.
   * It is repeated until it succeeds. Without it, nothing is undone for this step.
   */
  readonly undo?: (
    input: Input,
    result: Stored<Result> | undefined,
    ctx: SagaContext<Partial<Results>>,
  ) => unknown;
  /** The point of no return: once done, the saga only goes forward. At most one. */
  readonly pivot?: true;
  readonly retry?: RetryPolicy;
  /** What to do when the attempts of `retry` are used up: undo the saga (default), or wait for a person. */
  readonly onExhausted?: 'compensate' | 'park';
  /**
   * A repeat with the same gid gives the same answer, so the coordinator may write its progress lazily: one fsync less.
   * Default false.
   */
  readonly idempotent?: true;
}

export interface SagaContext<Results> extends FunctionContext {
  /** By step name. */
  readonly results: Results;
}

export type ResultsOf<Steps extends object> = {
  readonly [Name in keyof Steps]: Steps[Name] extends { readonly result: infer Result } ? Result : never;
};

type Before<Steps extends object, After extends readonly unknown[]> =
  | (After[number] & keyof Steps)
  | {
      [Name in keyof Steps]: Name extends After[number] ? BeforeOf<Steps[Name]> & keyof Steps : never;
    }[keyof Steps];

type BeforeOf<Step> = Step extends { readonly before: infer Names } ? Names : never;

type Parts = {
  readonly name: string;
  readonly schema: InputSchema;
  readonly options: Omit<SagaOptions<InputSchema>, 'input'>;
  readonly steps: readonly StepParts[];
  readonly functions: FunctionRegistry;
};

/** A step without its functions, as it is for every transaction. */
type StepParts = Omit<SagaStepDefinition, 'action' | 'compensation'> & {
  readonly takes: Inject;
  readonly undoTakes: Inject | undefined;
};

type Inject = Readonly<Record<string, Reference>>;

function build<Input, StoredInput, Steps extends object, Last extends string>(
  parts: Parts,
): Saga<Input, StoredInput, Steps, Last> {
  const { name, schema, options, steps, functions } = parts;
  // Only the addresses depend on who serves the steps.
  const compiled = new WeakMap<AddressOf, readonly SagaStepDefinition[]>();
  return {
    pattern: 'saga',
    name,
    functions,
    step(stepName: string, step) {
      const added: Parts = {
        ...parts,
        steps: [...steps, partsOf(stepName, step, steps)],
        functions: new Map([...functions, ...functionsOf(name, stepName, step)]),
      };
      // Every beginning of a valid saga is a valid saga, so a fault shows at the step that brings it in.
      planSaga({ name, ...options, steps: stepsAt(added, functionAddress) });
      return build(added);
    },
    parse: (input) => parseInput(schema, name, input),
    compile(input, addressOf) {
      const at = compiled.get(addressOf) ?? stepsAt(parts, addressOf);
      compiled.set(addressOf, at);
      return { pattern: 'saga', name, ...options, input, steps: at };
    },
  };
}

function stepsAt({ name, steps }: Parts, addressOf: AddressOf): readonly SagaStepDefinition[] {
  return steps.map(({ takes, undoTakes, ...step }) => ({
    ...step,
    action: { address: addressOf(name, step.name, 'action'), inject: takes },
    ...(undoTakes === undefined
      ? {}
      : { compensation: { address: addressOf(name, step.name, 'compensate'), inject: undoTakes } }),
  }));
}

type AnyStep = Omit<SagaStepFunctions<never, never, unknown, never>, 'after' | 'do' | 'undo'> & {
  readonly after?: readonly string[];
  readonly do: (...given: never[]) => unknown;
  readonly undo?: (...given: never[]) => unknown;
};

function partsOf(name: string, step: AnyStep, earlier: readonly StepParts[]): StepParts {
  const { do: _do, undo, idempotent: _idempotent, ...policy } = step;
  const takes: Record<string, Reference> = { [inputReference]: { from: inputReference, path: [] } };
  for (const before of namesBefore(policy.after, earlier))
    takes[before] = { from: before, path: [], optional: true };
  const undoTakes = { ...takes, [name]: { from: name, path: [] } };
  return { ...policy, name, takes, undoTakes: undo === undefined ? undefined : undoTakes };
}

/** All steps that come before one which names `after`; a name that is no step is left for planSaga to refuse. */
function namesBefore(after: readonly string[] | undefined, earlier: readonly StepParts[]): Set<string> {
  const found = new Set<string>();
  for (const name of after ?? earlier.slice(-1).map((step) => step.name)) {
    found.add(name);
    const step = earlier.find((other) => other.name === name);
    for (const before of Object.keys(step?.takes ?? {})) if (before !== inputReference) found.add(before);
  }
  return found;
}

function functionsOf(definition: string, name: string, step: AnyStep): [string, RegisteredFunction][] {
  const idempotent = step.idempotent ?? false;
  // The payload was made by `takes`, from what functions of these very types were given and gave back.
  const effect = step.do as (input: unknown, ctx: unknown) => unknown;
  const undo = step.undo as ((input: unknown, result: unknown, ctx: unknown) => unknown) | undefined;
  const action = async (call: FunctionCall): Promise<Json> => {
    const { input, results } = given(call);
    return toStored(await effect(input, contextWith(call, results)), `the result of ${name}`);
  };
  const actionEntry: [string, RegisteredFunction] = [
    functionAddress(definition, name, 'action'),
    { idempotent, call: action },
  ];
  if (undo === undefined) return [actionEntry];
  const compensate = async (call: FunctionCall): Promise<undefined> => {
    const { input, results } = given(call);
    const { [name]: own, ...others } = results;
    await undo(input, own, contextWith(call, others));
  };
  return [actionEntry, [functionAddress(definition, name, 'compensate'), { idempotent, call: compensate }]];
}
