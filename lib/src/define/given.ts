import { inputReference } from '../core/call-spec.ts';
import { SettleError } from '../util/errors.ts';
import { isJsonObject, type Json } from '../util/json.ts';
import type { FunctionContext } from './definition.ts';
import type { FunctionCall } from './functions.ts';
import { toStored } from './stored.ts';

export interface GivenContext extends FunctionContext {
  readonly results: Readonly<Record<string, Json>>;
}

/** The arguments of a function: its payload is `{ input, <branch>: <its result>, … }`. */
export function given({ gid, branch, attempt, signal, payload }: FunctionCall): [Json, GivenContext] {
  const own = toStored(payload, 'the payload');
  if (!isJsonObject(own)) {
    throw new SettleError('invalid_request', `the call of ${branch} was not made by a definition as code`, {
      gid,
      next: 'Submit it with run(definition, input)',
    });
  }
  const { [inputReference]: input = null, ...results } = own;
  return [input, { gid, branch, attempt, signal, results }];
}
