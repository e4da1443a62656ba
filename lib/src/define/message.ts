/** A two-phase message as code: what its targets do when it is delivered, and how to tell that it was really sent. */
import { inputReference } from '../core/call-spec.ts';
import { planMessage, producerBranch, type MessageTargetDefinition } from '../core/message-plan.ts';
import type { Definition } from '../core/patterns.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
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
import { contextOf, given } from './given.ts';
import { toStored, type Stored } from './stored.ts';

export interface MessageOptions<S extends InputSchema> extends DefinitionOptions<S> {
  /**
   * Whether the local transaction that belongs to the message committed: return when it did, throw `Refused` when it
   * did not and never will. A barrier's check answers exactly that. Needed by `withLocalTransaction`.
   */
  readonly check?: (ctx: FunctionContext) => unknown;
  /** Milliseconds from prepare until `check` is asked for the first time. Default 10,000. */
  readonly checkAfterMs?: number;
  /** Milliseconds between the decision to deliver and the first delivery. Default 0. */
  readonly delayMs?: number;
  /** Default: all targets at once. */
  readonly order?: 'parallel' | 'sequence';
}

/**
 * Defines a message that is delivered to every target.
 *
 * Guarantees: once submitted, each target is asked until it is done; there is no way back. With
 * `withLocalTransaction` it is delivered if and only if that transaction committed. Not guaranteed: that a target sees
 * it once (it sees it at least once: use a barrier). Throws `invalid_definition` for a repeated or impossible name.
 *
 * ```ts
 * const orderCreated = message('order-created', { input: OrderSchema })
 *   .to('points', { deliver: (order) => points.award(order.user, order.total) });
 * ```
 */
export function message<S extends InputSchema = undefined>(
  name: string,
  options: MessageOptions<S> = {},
): Message<InputOf<S>, StoredInputOf<S>> {
  checkDefinitionName(name);
  const { input, check, ...rest } = options;
  const functions = check === undefined ? [] : [checkEntry(name, check)];
  return build({
    name,
    schema: input,
    options: rest,
    checked: check !== undefined,
    targets: [],
    functions: new Map(functions),
  });
}

export interface Message<Input, StoredInput, Results extends object = object> extends CodeDefinition<
  Input,
  Results
> {
  readonly pattern: 'message';
  compile(input: Json, addressOf: AddressOf): Definition & { readonly pattern: 'message' };
  /** Whether it can tell, asked back, that its local transaction committed. */
  readonly checked: boolean;
  /** The message with one more target. */
  to<Name extends string, Result>(
    name: Name extends keyof Results ? never : Name,
    target: MessageTargetFunctions<StoredInput, Result>,
  ): Message<Input, StoredInput, Results & Readonly<Record<Name, Stored<Result>>>>;
}

export interface MessageTargetFunctions<Input, Result> {
  /** Repeated until it succeeds; it cannot refuse. */
  readonly deliver: (input: Input, ctx: FunctionContext) => Result | Promise<Result>;
  readonly retry?: RetryPolicy;
}

type Parts = {
  readonly name: string;
  readonly schema: InputSchema;
  readonly options: Omit<MessageOptions<InputSchema>, 'input' | 'check'>;
  readonly checked: boolean;
  readonly targets: readonly { readonly name: string; readonly retry?: RetryPolicy }[];
  readonly functions: FunctionRegistry;
};

function build<Input, StoredInput, Results extends object>(
  parts: Parts,
): Message<Input, StoredInput, Results> {
  const { name, schema, options, checked, targets, functions } = parts;
  return {
    pattern: 'message',
    name,
    checked,
    functions,
    to(target: string, { deliver, ...policy }) {
      const added: Parts = {
        ...parts,
        targets: [...targets, { name: target, ...policy }],
        functions: new Map([...functions, deliverEntry(name, target, deliver)]),
      };
      planMessage({ name, ...options, targets: targetsAt(added, null, functionAddress) });
      return build(added);
    },
    parse: (input) => parseInput(schema, name, input),
    compile: (input, addressOf) => ({
      pattern: 'message',
      name,
      ...options,
      targets: targetsAt(parts, input, addressOf),
    }),
  };
}

function targetsAt(parts: Parts, input: Json, addressOf: AddressOf): readonly MessageTargetDefinition[] {
  return parts.targets.map((target) => ({
    ...target,
    deliver: {
      address: addressOf(parts.name, target.name, 'action'),
      payload: { [inputReference]: input },
    },
  }));
}

/** Where the check-back of a definition is answered. */
export function checkAddress(name: string, addressOf: AddressOf): string {
  return addressOf(name, producerBranch, 'check');
}

function deliverEntry(
  definition: string,
  target: string,
  deliver: (...args: never[]) => unknown,
): [string, RegisteredFunction] {
  // The payload is made by targetsAt, from an input of this very type.
  const typed = deliver as (input: unknown, ctx: unknown) => unknown;
  const call = async (call: FunctionCall): Promise<Json> => {
    return toStored(await typed(given(call).input, contextOf(call)), `the result of ${target}`);
  };
  return [functionAddress(definition, target, 'action'), { idempotent: false, call }];
}

function checkEntry(
  definition: string,
  check: (ctx: FunctionContext) => unknown,
): [string, RegisteredFunction] {
  const call = async (asked: FunctionCall): Promise<undefined> => {
    await check(contextOf(asked));
  };
  return [checkAddress(definition, functionAddress), { idempotent: false, call }];
}
