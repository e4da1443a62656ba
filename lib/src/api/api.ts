/**
 * The native HTTP API: a function from a request to a response, over the `Coordinator` facade.
 *
 * - A1 It never rejects: whatever goes wrong is a problem (RFC 9457) with a stable code and what to do next.
 * - A2 A defect of ours tells its caller an id and nothing else; the error itself goes to `onError`.
 * - A3 Nothing is read of a body before its sender is known.
 */
import type { Coordinator } from '../core/coordinator.ts';
import { isGid, parseGid } from '../core/ids.ts';
import { isSettleError, SettleError } from '../util/errors.ts';
import { toProblem, type Problem } from '../wire/problem.ts';
import { authenticator, type ApiKey } from './auth.ts';
import { createEventHub, type EventHub } from './events.ts';
import { problemResponse, type Api, type ApiRequest, type ApiResponse } from './exchange.ts';
import { gate, type GateOptions } from './gate.ts';
import { handlers, type Readiness } from './handlers.ts';
import { apiLimits, type ApiLimits } from './limits.ts';
import { match, type Match } from './router.ts';

export interface ApiOptions extends GateOptions {
  readonly coordinator: Coordinator;
  /** Without keys everybody who reaches us may do everything. Default none. */
  readonly keys?: readonly ApiKey[];
  readonly limits?: Partial<ApiLimits>;
  /** Where GET /v1/events takes its changes from. Default: a hub that nobody tells anything. */
  readonly events?: EventHub;
  /** Whether work should be sent to us. Default: always. */
  readonly readiness?: () => Readiness;
  /** The release, for the OpenAPI document. */
  readonly version?: string;
  /** Told of every defect, with the id that its caller got. */
  readonly onError: (error: unknown, id: string) => void;
}

/** Makes the API. Throws `config_invalid` when a key is not usable. */
export function createApi(options: ApiOptions): Api {
  const { coordinator, keys = [], events = createEventHub(), version = '0.0.0', onError } = options;
  const limits = { ...apiLimits, ...options.limits };
  const readiness = options.readiness ?? ((): Readiness => ({ kind: 'ready' }));
  const { plain, ofGid } = handlers({ coordinator, events, readiness, limits, version });
  const letIn = gate(options);
  const authenticate = authenticator(keys);

  const answer = async (request: ApiRequest, found: Match): Promise<ApiResponse> => {
    if (found.kind === 'plain' && found.open) return await plain[found.operation](request, '');
    letIn(request);
    const actor = authenticate(request);
    switch (found.kind) {
      case 'plain':
        return await plain[found.operation](request, actor);
      case 'gid':
        return await ofGid[found.operation](request, parseGid(unescaped(found.gid)), actor);
      case 'wrong-method':
        throw new SettleError(
          'method_not_allowed',
          `${request.method.slice(0, 16)} is not a method of this route`,
        );
      case 'nothing':
        throw new SettleError('no_such_route', 'there is no such route');
    }
  };

  return async (request) => {
    const found = match(request.method, request.path);
    try {
      return await answer(request, found);
    } catch (error) {
      return failure(problemOf(error, found, onError), found);
    }
  };
}

/** Clients escape a gid although none of its characters needs it. What is not escaped as a URL is no gid either. */
function unescaped(segment: string): string {
  if (!segment.includes('%')) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function problemOf(error: unknown, found: Match, onError: ApiOptions['onError']): Problem {
  const inPath = found.kind === 'gid' ? unescaped(found.gid) : '';
  const gid = isGid(inPath) ? inPath : undefined;
  if (isSettleError(error) && error.code !== 'internal') return toProblem(error, gid);
  const id = crypto.randomUUID();
  try {
    onError(error, id);
  } catch {
    // A listener that fails must not take the answer with it (A1).
  }
  return {
    ...toProblem(new SettleError('internal', `something went wrong here; it is logged as ${id}`), gid),
    id,
  };
}

function failure(problem: Problem, found: Match): ApiResponse {
  return problemResponse(problem, {
    ...(problem.status === 401 ? { 'www-authenticate': 'Bearer realm="settle"' } : {}),
    ...(problem.status === 405 && found.kind === 'wrong-method' ? { allow: found.allow } : {}),
  });
}
