/** A TCC transaction as code: each branch reserves (try), and later makes it real (confirm) or gives it back (cancel). */
import { inputReference } from '../core/call-spec.ts';
import type { Op } from '../core/outcome.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import { planTcc, type TccBranchDefinition } from '../core/tcc-plan.ts';
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

export interface TccOptions<S extends InputSchema> extends DefinitionOptions<S> {
  /** Milliseconds from submit after which everything is cancelled, unless all is tried. Default 60,000. */
  readonly timeoutMs?: number;
}

/**
 * Defines a TCC transaction: all branches are tried side by side; once all are, all are confirmed; if one refuses, or
 * time is up, all that may have been tried are cancelled.
 *
 * Guarantees: in the end all branches are confirmed, or all that may have been tried were cancelled. Not guaranteed:
 * that a function runs once, or that no cancel comes before its try (use a barrier). Throws `invalid_definition` for a
 * repeated or impossible name.
 *
 * ```ts
 * const transfer = tcc('transfer', { input: TransferSchema }).branch('debit', {
 *   try: (input) => accounts.hold(input.from, input.cents),
 *   confirm: (input) => accounts.take(input.from, input.cents),
 *   cancel: (input) => accounts.release(input.from, input.cents),
 * });
 * ```
 */
export function tcc<S extends InputSchema = undefined>(
  name: string,
  options: TccOptions<S> = {},
): Tcc<InputOf<S>, StoredInputOf<S>> {
  checkDefinitionName(name);
  const { input, ...rest } = options;
  return build({ name, schema: input, options: rest, branches: [], functions: new Map() });
}

export interface Tcc<Input, StoredInput, Results extends object = object> extends CodeDefinition<
  Input,
  Results
> {
  readonly pattern: 'tcc';
  /** The transaction with one more branch. */
  branch<Name extends string, Result>(
    name: Name extends keyof Results ? never : Name,
    branch: TccBranchFunctions<StoredInput, Result>,
  ): Tcc<Input, StoredInput, Results & Readonly<Record<Name, Stored<Result>>>>;
}

export interface TccBranchFunctions<Input, Result> {
  /** Checks and reserves. Throw `Refused` to say no and have everything cancelled. */
  readonly try: (input: Input, ctx: FunctionContext) => Result | Promise<Result>;
  /** Makes real what was reserved. It must be possible: it is repeated until it succeeds. */
  readonly confirm: (input: Input, tried: Stored<Result>, ctx: FunctionContext) => unknown;
  /** Gives back what was reserved, repeated until it succeeds. `tried` is undefined when the try ended unknown. */
  readonly cancel: (input: Input, tried: Stored<Result> | undefined, ctx: FunctionContext) => unknown;
  /** How often a try without an answer is repeated before everything is cancelled. Default 4 attempts. */
  readonly retry?: RetryPolicy;
  /** A repeat with the same gid gives the same answer, so progress may be written lazily. Default false. */
  readonly idempotent?: true;
}

type Parts = {
  readonly name: string;
  readonly schema: InputSchema;
  readonly options: Omit<TccOptions<InputSchema>, 'input'>;
  readonly branches: readonly { readonly name: string; readonly retry?: RetryPolicy }[];
  readonly functions: FunctionRegistry;
};

function build<Input, StoredInput, Results extends object>(parts: Parts): Tcc<Input, StoredInput, Results> {
  const { name, schema, options, branches, functions } = parts;
  const definition = (input: Json, addressOf: AddressOf) =>
    ({
      pattern: 'tcc',
      name,
      ...options,
      decide: 'when-all-tried',
      branches: branches.map((branch) => branchAt(name, branch, input, addressOf)),
    }) as const;
  return {
    pattern: 'tcc',
    name,
    functions,
    branch(branchName: string, { try: tries, confirm, cancel, idempotent = false, ...policy }) {
      const added: Parts = {
        ...parts,
        branches: [...branches, { name: branchName, ...policy }],
        functions: new Map([
          ...functions,
          entry(name, branchName, 'try', idempotent, tries),
          entry(name, branchName, 'confirm', idempotent, confirm),
          entry(name, branchName, 'cancel', idempotent, cancel),
        ]),
      };
      planTcc({
        name,
        branches: added.branches.map((branch) => branchAt(name, branch, null, functionAddress)),
      });
      return build(added);
    },
    parse: (input) => parseInput(schema, name, input),
    compile: definition,
  };
}

/** A TCC transaction has no input of its own, so every call carries it. */
function branchAt(
  definition: string,
  branch: Parts['branches'][number],
  input: Json,
  addressOf: AddressOf,
): TccBranchDefinition {
  const { name } = branch;
  const payload = { [inputReference]: input };
  const inject = { [name]: { from: name, path: [] } };
  return {
    ...branch,
    try: { address: addressOf(definition, name, 'try'), payload },
    confirm: { address: addressOf(definition, name, 'confirm'), payload, inject },
    cancel: { address: addressOf(definition, name, 'cancel'), payload, inject },
  };
}

function entry(
  definition: string,
  branch: string,
  op: Op,
  idempotent: boolean,
  run: (...args: never[]) => unknown,
): [string, RegisteredFunction] {
  // The payload is made by branchAt, from what functions of these very types were given and gave back.
  const typed = run as (...args: unknown[]) => unknown;
  const call = async (call: FunctionCall): Promise<Json> => {
    const { input, results } = given(call);
    const ctx = contextOf(call);
    const result = await (op === 'try' ? typed(input, ctx) : typed(input, results[branch], ctx));
    return toStored(result, `the result of ${branch}`);
  };
  return [functionAddress(definition, branch, op), { idempotent, call }];
}
