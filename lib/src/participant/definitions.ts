import { functionAddress, registryOf, type FunctionRegistry } from '../define/functions.ts';
import { answering, type HandlerOptions } from './handler.ts';
import type { Handler } from './message.ts';

/**
 * Serves the functions of definitions as code to a coordinator elsewhere: the path of a call ends in
 * `<definition>/<branch>`, and a header names the operation.
 *
 * Functions are called at least once, without a barrier; a function declared idempotent is announced as one whose
 * answers repeat. Throws `invalid_definition` when two definitions share a name, and `config_invalid` for a bad secret.
 *
 * ```ts
 * createServer(nodeHandler(definitionsHandler([placeOrder]))).listen(8080);
 * ```
 */
export function definitionsHandler(
  definitions: readonly { readonly name: string; readonly functions: FunctionRegistry }[],
  options: HandlerOptions = {},
): Handler {
  const registry = registryOf(definitions);
  return answering(({ op }, path) => {
    const [branch = '', definition = ''] = (path.split('?')[0] ?? '').split('/').toReversed();
    const entry = registry.get(functionAddress(definition, branch, op));
    return entry === undefined
      ? { kind: 'none' }
      : { kind: 'work', work: entry.call, idempotent: entry.idempotent };
  }, options);
}
