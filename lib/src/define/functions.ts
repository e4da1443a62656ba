/** The functions behind definitions: what a caller in this process, or a handler in a participant, looks up and runs. */
import type { BranchName, Gid } from '../core/ids.ts';
import type { Op } from '../core/outcome.ts';
import { SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';

export interface FunctionCall {
  readonly gid: Gid;
  readonly branch: BranchName;
  readonly op: Op;
  /** Counts from 1. */
  readonly attempt: number;
  readonly payload: Json | undefined;
  /** Aborts when the time of this call is up; its outcome is then unknown, whatever the function still does. */
  readonly signal: AbortSignal;
}

export interface RegisteredFunction {
  /** Fulfils: done, with this result. Rejects with `Refused` or `Ongoing`: that; with anything else: unknown. */
  readonly call: (call: FunctionCall) => Promise<Json | undefined>;
  /** Its author says that a repeat with the same gid gives the same answer (D3). */
  readonly idempotent: boolean;
}

/** By {@link functionAddress}. */
export type FunctionRegistry = ReadonlyMap<string, RegisteredFunction>;

/** Where a definition's functions are reached: in this process, or at a participant. */
export type AddressOf = (definition: string, branch: string, op: Op) => string;

/** `fn:<definition>/<branch>/<op>`: an address in the coordinator's own process. */
export const functionAddress: AddressOf = (definition, branch, op) => `fn:${definition}/${branch}/${op}`;

/** `<base>/<definition>/<branch>`: a participant that serves definitions; the op travels beside it. */
export function servedAt(base: string): AddressOf {
  const root = base.replace(/\/+$/, '');
  return (definition, branch) => `${root}/${definition}/${branch}`;
}

/** All functions of several definitions. Two definitions of one name are `invalid_definition`. */
export function registryOf(
  definitions: readonly { readonly name: string; readonly functions: FunctionRegistry }[],
): FunctionRegistry {
  const all = new Map<string, RegisteredFunction>();
  const names = new Set<string>();
  for (const { name, functions } of definitions) {
    if (names.has(name)) {
      throw new SettleError('invalid_definition', `two definitions are called ${name}`, {
        next: 'Give each a name of its own; stored transactions find their functions by it',
      });
    }
    names.add(name);
    for (const [address, entry] of functions) all.set(address, entry);
  }
  return all;
}
