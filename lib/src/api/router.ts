/** Finds the route of a path by comparing strings: no pattern is run for a request. */
import { routes, type GidOperation, type Operation } from '../wire/routes.ts';

export type Match =
  | { readonly kind: 'plain'; readonly operation: Exclude<Operation, GidOperation>; readonly open: boolean }
  /** `gid` as it stands in the path, not yet checked. */
  | { readonly kind: 'gid'; readonly operation: GidOperation; readonly gid: string }
  | { readonly kind: 'wrong-method'; readonly allow: string }
  | { readonly kind: 'nothing' };

const prefix = '/v1/transactions/';
const inPath = `${prefix}{gid}`;

type Methods<T> = Map<string, T>;

const plain = new Map<string, Methods<Match>>();
const afterGid = new Map<string, Methods<GidOperation>>();

for (const route of routes) {
  if (isOfGid(route)) methodsOf(afterGid, route.path.slice(inPath.length)).set(route.method, route.operation);
  else
    methodsOf(plain, route.path).set(route.method, {
      kind: 'plain',
      operation: route.operation,
      open: route.access === 'open',
    });
}

/** A gid may be called like a route beside it (`batch`): then the method decides. */
export function match(method: string, path: string): Match {
  const methods = plain.get(path);
  const exact = methods?.get(method);
  if (exact !== undefined) return exact;
  const slash = path.startsWith(prefix) ? path.indexOf('/', prefix.length) : 0;
  const end = slash < 0 ? path.length : slash;
  const ofGid = end > prefix.length ? afterGid.get(path.slice(end)) : undefined;
  const operation = ofGid?.get(method);
  if (operation !== undefined) return { kind: 'gid', operation, gid: path.slice(prefix.length, end) };
  if (methods === undefined && ofGid === undefined) return { kind: 'nothing' };
  return { kind: 'wrong-method', allow: [...(methods?.keys() ?? []), ...(ofGid?.keys() ?? [])].join(', ') };
}

function methodsOf<T>(table: Map<string, Methods<T>>, path: string): Methods<T> {
  let methods = table.get(path);
  if (methods === undefined) {
    methods = new Map();
    table.set(path, methods);
  }
  return methods;
}

function isOfGid(
  route: (typeof routes)[number],
): route is Extract<(typeof routes)[number], { readonly operation: GidOperation }> {
  return route.path.startsWith(inPath);
}
