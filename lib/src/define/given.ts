import { inputReference } from '../core/call-spec.ts';
import { SettleError } from '../util/errors.ts';
import { isJsonObject, type Json } from '../util/json.ts';
import type { FunctionContext } from './definition.ts';
import type { FunctionCall } from './functions.ts';
import { toStored } from './stored.ts';

export type GivenResults = Readonly<Record<string, Json>>;

/** What a call of a function brings: its payload is `{ input, <branch>: <its result>, … }`. */
export function given({ gid, branch, payload }: FunctionCall): {
  readonly input: Json;
  readonly results: GivenResults;
} {
  const own = toStored(payload, 'the payload');
  if (!isJsonObject(own)) {
    throw new SettleError('invalid_request', `the call of ${branch} was not made by a definition as code`, {
      gid,
      next: 'Submit it with run(definition, input)',
    });
  }
  const { [inputReference]: input = null, ...results } = own;
  return { input, results };
}

export function contextOf(call: FunctionCall): FunctionContext {
  return new Context(call, noResults);
}

export function contextWith(
  call: FunctionCall,
  results: GivenResults,
): FunctionContext & { results: GivenResults } {
  return new Context(call, results);
}

const noResults: GivenResults = {};

/** Hands the signal on only when it is asked for: few functions look at it, and making one is dear. */
class Context implements FunctionContext {
  readonly gid: FunctionContext['gid'];
  readonly branch: FunctionContext['branch'];
  readonly op: FunctionContext['op'];
  readonly attempt: number;
  readonly results: GivenResults;
  readonly #call: FunctionCall;

  constructor(call: FunctionCall, results: GivenResults) {
    this.gid = call.gid;
    this.branch = call.branch;
    this.op = call.op;
    this.attempt = call.attempt;
    this.results = results;
    this.#call = call;
  }

  get signal(): AbortSignal {
    return this.#call.signal;
  }
}
