import type { Transport } from '../client/transport.ts';
import type { Coordinator } from '../core/coordinator.ts';
import type { ChangeFeed } from './change-feed.ts';

/** The engine itself as the transport of the verbs. */
export function embeddedTransport(
  engine: Coordinator,
  changes: Pick<ChangeFeed, 'follow'>,
  close: () => Promise<void>,
): Transport {
  return {
    submit: (request) => engine.submit(request),
    submitMany: (requests) => engine.submitMany(requests),
    register: (gid, branches, options) => engine.register(gid, branches, options),
    commit: (gid, options) => engine.commit(gid, options),
    act: (gid, request, options) => engine.act(gid, request, options),
    get: (gid, options) => engine.get(gid, options),
    list: (query) => engine.list(query),
    follow: (query, signal) => changes.follow(query, signal),
    close,
  };
}
