import { assert } from '../util/assert.ts';
import { isJsonObject, type Json, type JsonObject } from '../util/json.ts';

/** A fixed path into the result of an earlier branch, or into the transaction's `input`. */
export interface Reference {
  /** The name of the branch, or `input`. */
  readonly from: string;
  readonly path: readonly string[];
  /** Leaves the member out when there is no such result (an operator skipped the branch), instead of refusing the call. */
  readonly optional?: true;
}

/** The name under which references reach the transaction's own input; no branch may bear it. */
export const inputReference = 'input';

/** Whom to ask, and with what. `address` is opaque to core and engine: an http(s) URL or a function's name. */
export interface CallSpec {
  readonly address: string;
  readonly payload?: Json;
  /** Members of `payload` (then an object) filled from earlier results when the call is made. */
  readonly inject?: Readonly<Record<string, Reference>>;
}

export type Payload =
  | { readonly kind: 'ready'; readonly value: Json | undefined }
  | { readonly kind: 'missing'; readonly reference: string };

/**
 * The payload of a call with its references filled in.
 * `required` (a forward call): a reference that leads nowhere and is not optional makes the payload `missing`.
 * Otherwise (an undo, whose branch may never have answered): the member is left out.
 */
export function resolvePayload(
  spec: CallSpec,
  lookup: (from: string) => Json | undefined,
  missing: 'required' | 'omit',
): Payload {
  if (spec.inject === undefined) return { kind: 'ready', value: spec.payload };
  const base = spec.payload ?? {};
  assert(isJsonObject(base), 'a payload with references is an object');
  const members = new Map(Object.entries(base));
  for (const [member, reference] of Object.entries(spec.inject)) {
    const value = follow(lookup(reference.from), reference.path);
    if (value !== undefined) members.set(member, value);
    else if (missing === 'required' && !reference.optional)
      return { kind: 'missing', reference: [reference.from, ...reference.path].join('.') };
  }
  // Defines the members instead of assigning them, so that one called `__proto__` is a member like any other.
  return { kind: 'ready', value: Object.fromEntries(members) satisfies JsonObject };
}

function follow(value: Json | undefined, path: readonly string[]): Json | undefined {
  let here = value;
  for (const key of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return undefined;
    here = (here as JsonObject)[key];
  }
  return here;
}
