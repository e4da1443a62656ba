import type { CallSpec, Reference } from '../core/call-spec.ts';
import { toStored } from '../define/stored.ts';
import { SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';

/**
 * Takes a value from the result of an earlier branch, by a fixed path: `from('reserve', 'items', '0', 'price')`.
 *
 * It stands for a whole member of a payload, at the top level. It is filled in when the call is made; if the result has
 * no such member by then, the call counts as refused (in a compensation the member is left out).
 */
export function from(branch: string, ...path: readonly string[]): FromResult {
  return new FromResult({ from: branch, path });
}

export class FromResult {
  readonly reference: Reference;

  constructor(reference: Reference) {
    this.reference = reference;
  }

  /** A reference that is not lifted out of its payload would travel as data. */
  toJSON(): never {
    throw new SettleError(
      'invalid_definition',
      `from('${this.reference.from}') stands where it cannot be filled in`,
      {
        next: 'Use it as a member of the payload itself, not deeper and not in its place',
      },
    );
  }
}

/** The payload of a call: any JSON, where members of an object may come {@link from} earlier results. */
export type PayloadWithReferences = Json | { readonly [member: string]: Json | FromResult | undefined };

export function callSpec(address: string, payload: PayloadWithReferences | undefined): CallSpec {
  if (payload === undefined) return { address };
  if (
    payload === null ||
    typeof payload !== 'object' ||
    Array.isArray(payload) ||
    payload instanceof FromResult
  ) {
    return { address, payload: plain(payload) };
  }
  const inject: [string, Reference][] = [];
  const fixed: [string, unknown][] = [];
  for (const [member, value] of Object.entries(payload)) {
    if (value instanceof FromResult) inject.push([member, value.reference]);
    else fixed.push([member, value]);
  }
  const spec = { address, payload: plain(Object.fromEntries(fixed)) };
  return inject.length === 0 ? spec : { ...spec, inject: Object.fromEntries(inject) };
}

function plain(payload: unknown): Json {
  return toStored(payload, 'a payload');
}
