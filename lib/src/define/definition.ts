/** What every definition as code has in common, whatever its pattern. */
import type { BranchName, Gid } from '../core/ids.ts';
import type { Op } from '../core/outcome.ts';
import type { Definition, Pattern } from '../core/patterns.ts';
import { SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';
import type { AddressOf, FunctionRegistry } from './functions.ts';
import { inputIssueOf, type StandardSchema } from './standard-schema.ts';
import { toStored, type Stored } from './stored.ts';

/** A definition as code: what `run` takes, and what a coordinator or a participant serves. */
export interface CodeDefinition<Input, Results> {
  readonly pattern: Pattern;
  /** Stored with every transaction, which finds its functions by it: never rename one that has unfinished transactions. */
  readonly name: string;
  readonly functions: FunctionRegistry;
  /** Checks an input. Rejects with `invalid_request` and where it is wrong. */
  parse(input: Input): Promise<Json>;
  /** The definition to submit, for a checked input. */
  compile(input: Json, addressOf: AddressOf): Definition;
  /** Only for the compiler: what the types are. */
  readonly '~types'?: { readonly input: Input; readonly results: Results } | undefined;
}

/** What a function is told beside its input. */
export interface FunctionContext {
  readonly gid: Gid;
  readonly branch: BranchName;
  /** With gid and branch it names this very operation: what a barrier wants to know. */
  readonly op: Op;
  /** Counts from 1. Above 1 an earlier attempt may have happened. */
  readonly attempt: number;
  /** Aborts when the time of this attempt is up. */
  readonly signal: AbortSignal;
}

/** Any Standard Schema; without one every JSON value is taken. */
export type InputSchema = StandardSchema | undefined;

/** What the options of all patterns share. */
export interface DefinitionOptions<S extends InputSchema> {
  /** Checks the input before anything is stored. Any Standard Schema; default: every JSON value is taken. */
  readonly input?: S;
  /** Milliseconds one call of a function may take. Default: the coordinator's. */
  readonly callTimeoutMs?: number;
}

export type InputOf<S extends InputSchema> = S extends StandardSchema<infer Input> ? Input : Json;

/** The input as functions see it: what the schema made of it, after a trip through the store. */
export type StoredInputOf<S extends InputSchema> =
  S extends StandardSchema<unknown, infer Output> ? Stored<Output> : Json;

export async function parseInput(schema: InputSchema, name: string, input: unknown): Promise<Json> {
  if (schema === undefined) return toStored(input, `the input of ${name}`);
  const result = await schema['~standard'].validate(input);
  if (result.issues === undefined) return toStored(result.value, `the input of ${name}`);
  const issues = result.issues.map(inputIssueOf);
  const first = issues[0];
  throw new SettleError(
    'invalid_request',
    `the input of ${name} is not valid${first === undefined ? '' : `: ${first.path || '/'} ${first.message}`}`,
    { issues, next: 'Correct the input; nothing was submitted' },
  );
}

const nameShape = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** The name stands in addresses, so it is narrower than that of a transaction made of URLs. */
export function checkDefinitionName(name: string): void {
  if (nameShape.test(name)) return;
  throw new SettleError(
    'invalid_definition',
    `${JSON.stringify(name.slice(0, 140))} cannot name a definition`,
    {
      next: 'Use 1 to 128 characters of A-Z a-z 0-9 . _ -, starting with a letter or digit',
    },
  );
}
