import type { BranchCaller } from '../engine/ports.ts';

/** Sends each call to the caller for its address's scheme, for example `{ fn: functionCaller(...), https: ... }`. */
export function routeCaller(routes: Readonly<Record<string, BranchCaller>>): BranchCaller {
  const callers = new Map(Object.entries(routes));
  const nowhere = noCaller(callers.size === 0 ? 'none' : [...callers.keys()].join(', '));
  const route = (address: string): BranchCaller =>
    callers.get(address.slice(0, Math.max(0, address.indexOf(':')))) ?? nowhere;
  return {
    call: (call, signal) => route(call.address).call(call, signal),
    destinationOf: (address) => route(address).destinationOf(address),
    whyNotAllowed: (address) => route(address).whyNotAllowed(address),
  };
}

function noCaller(schemes: string): BranchCaller {
  const reason = `nobody calls addresses of this scheme; there are: ${schemes}`;
  return {
    call: () =>
      Promise.resolve({ outcome: { kind: 'unknown', reason, misconfigured: true }, repeatable: false }),
    destinationOf: (address) => address,
    whyNotAllowed: () => reason,
  };
}
