/** One function per operation: reads the request, asks the coordinator, prints what it says. */
import type { Coordinator, WaitOptions } from '../core/coordinator.ts';
import type { Gid } from '../core/ids.ts';
import { actions, legalTable } from '../core/legal.ts';
import { statuses, type TransactionView } from '../core/patterns.ts';
import { crashPoint } from '../util/crash-point.ts';
import { isSettleError, SettleError, type InputIssue } from '../util/errors.ts';
import { isJsonObject, type Json } from '../util/json.ts';
import { parseJson } from '../wire/json.ts';
import { openApi } from '../wire/openapi.ts';
import { detailOf, toProblem } from '../wire/problem.ts';
import { parseQuery, summaryOf } from '../wire/query.ts';
import {
  abortSchema,
  actionSchema,
  commitSchema,
  payloadsOf,
  payloadsOfBranch,
  registerSchema,
  submitManySchema,
  submitSchema,
  toAction,
  toSubmit,
  toTccBranch,
} from '../wire/requests.ts';
import {
  eventsQuery,
  getQuery,
  listQuery,
  routes,
  type GidOperation,
  type Operation,
} from '../wire/routes.ts';
import { parse, type Schema } from '../wire/schema.ts';
import { hasEnded, locationOf } from '../wire/transaction.ts';
import type { EventHub } from './events.ts';
import { jsonResponse, streamResponse, type ApiRequest, type ApiResponse } from './exchange.ts';
import { checkMediaType } from './gate.ts';
import type { ApiLimits } from './limits.ts';

export type Readiness = { readonly kind: 'ready' } | { readonly kind: 'not-ready'; readonly reason: string };

export interface World {
  readonly coordinator: Coordinator;
  readonly events: EventHub;
  readonly readiness: () => Readiness;
  readonly limits: ApiLimits;
  readonly version: string;
}

type Handler = (request: ApiRequest, actor: string) => ApiResponse | Promise<ApiResponse>;
type GidHandler = (request: ApiRequest, gid: Gid, actor: string) => Promise<ApiResponse>;

export interface Handlers {
  readonly plain: Readonly<Record<Exclude<Operation, GidOperation>, Handler>>;
  readonly ofGid: Readonly<Record<GidOperation, GidHandler>>;
}

/** A transaction in a batch stands two levels deeper than alone, and may be as deep as alone. */
const batchDepth = 2;

export function handlers({ coordinator, events, readiness, limits, version }: World): Handlers {
  const legal = jsonResponse(200, JSON.stringify({ actions, statuses, table: legalTable }));
  const document = jsonResponse(200, JSON.stringify(openApi(routes, version)));
  const read = <T>(request: ApiRequest, schema: Schema<T>, deeper = 0): T =>
    readBody(request, schema, limits, deeper);

  return {
    plain: {
      async submit(request) {
        const body = read(request, submitSchema);
        try {
          checkPayloads(request, limits, () => payloadsOf(body));
          crashPoint('api.submit', 'before');
          const view = await coordinator.submit(toSubmit(body));
          crashPoint('api.submit', 'after');
          return answer(view);
        } catch (error) {
          throw about(body.gid, error);
        }
      },
      async submitMany(request) {
        const { transactions } = read(request, submitManySchema, batchDepth);
        transactions.forEach((body, at) =>
          checkPayloads(request, limits, () => payloadsOf(body), `/transactions/${at}`),
        );
        const outcomes = await coordinator.submitMany(transactions.map((body) => toSubmit(body)));
        const printed = outcomes.map((outcome, at) =>
          outcome.kind === 'accepted'
            ? outcome
            : { kind: outcome.kind, error: toProblem(outcome.error, transactions[at]?.gid) },
        );
        return jsonResponse(200, JSON.stringify({ outcomes: printed }));
      },
      async list(request) {
        return jsonResponse(
          200,
          JSON.stringify(await coordinator.list(parseQuery(request.query, listQuery))),
        );
      },
      events(request) {
        return streamResponse(events.subscribe(parseQuery(request.query, eventsQuery), request.signal));
      },
      legal: () => legal,
      openapi: () => document,
      live: () => live,
      ready() {
        const state = readiness();
        if (state.kind === 'ready') return ready;
        throw new SettleError('unavailable', state.reason, {
          next: 'Send requests elsewhere until it is ready',
        });
      },
    },
    ofGid: {
      async get(request, gid) {
        const { waitMs } = parseQuery(request.query, getQuery);
        crashPoint('api.get', 'before');
        const view = await coordinator.get(gid, wait(request, waitMs));
        crashPoint('api.get', 'after');
        return jsonResponse(200, JSON.stringify(view));
      },
      async register(request, gid) {
        const { branches, waitMs } = read(request, registerSchema);
        branches.forEach((branch, at) =>
          checkPayloads(request, limits, () => payloadsOfBranch(`/branches/${at}`, branch)),
        );
        const added = branches.map(toTccBranch);
        crashPoint('api.register', 'before');
        const view = await coordinator.register(gid, added, wait(request, waitMs));
        crashPoint('api.register', 'after');
        return answer(view);
      },
      async commit(request, gid) {
        const { waitMs } = read(request, commitSchema);
        crashPoint('api.commit', 'before');
        const view = await coordinator.commit(gid, wait(request, waitMs));
        crashPoint('api.commit', 'after');
        return answer(view);
      },
      async abort(request, gid, actor) {
        const { reason, waitMs } = read(request, abortSchema);
        const action = { action: 'abort', reason, actor } as const;
        crashPoint('api.abort', 'before');
        const view = await coordinator.act(gid, action, wait(request, waitMs));
        crashPoint('api.abort', 'after');
        return answer(view);
      },
      async act(request, gid, actor) {
        const body = read(request, actionSchema);
        return answer(await coordinator.act(gid, toAction(body, actor), wait(request, body.waitMs)));
      },
    },
  };
}

const live = jsonResponse(200, '{"status":"live"}');
const ready = jsonResponse(200, '{"status":"ready"}');

/** 200 once it has ended, 202 with its place while it goes on. */
function answer(view: TransactionView): ApiResponse {
  crashPoint('api.print', 'before');
  const text = JSON.stringify(view);
  crashPoint('api.print', 'after');
  return hasEnded(view.status) ? jsonResponse(200, text) : jsonResponse(202, text, locationOf(view.gid));
}

function wait({ signal }: ApiRequest, waitMs: number | undefined): WaitOptions {
  return { ...(waitMs === undefined ? {} : { waitMs }), ...(signal === undefined ? {} : { signal }) };
}

function readBody<T>(request: ApiRequest, schema: Schema<T>, limits: ApiLimits, deeper: number): T {
  checkMediaType(request);
  const { bodyBytesMax: bytesMax, depthMax } = limits;
  const value = parseJson(request.body, { bytesMax, depthMax: depthMax + deeper });
  const parsed = parse(schema, value);
  if (parsed.kind === 'valid') return parsed.value;
  throw new SettleError('invalid_request', `the body is not valid: ${summaryOf(parsed.issues)}`, {
    gid: gidIn(value),
    issues: parsed.issues,
    next: 'Correct what `issues` names and send it again; /v1/openapi.json describes the body',
  });
}

/** The error with the transaction it is about, where it does not name it itself. */
function about(gid: string | undefined, error: unknown): unknown {
  if (gid === undefined || !isSettleError(error) || error.gid !== undefined) return error;
  const { code, next, retryAfterMs, issues } = error;
  return new SettleError(code, detailOf(error), { gid, next, retryAfterMs, issues, cause: error });
}

/** Which transaction a refused body speaks of, as far as it says so. */
function gidIn(body: Json): string | undefined {
  const gid = isJsonObject(body) ? body['gid'] : undefined;
  return typeof gid === 'string' && gid.length <= 128 ? gid : undefined;
}

/** A body within the limit of one payload holds none beyond it, and that is nearly every body. */
function checkPayloads(
  request: ApiRequest,
  { payloadCharactersMax }: ApiLimits,
  payloads: () => Iterable<{ readonly path: string; readonly payload: Json }>,
  prefix = '',
): void {
  if (request.body.length <= payloadCharactersMax) return;
  const issues: InputIssue[] = [];
  for (const { path, payload } of payloads()) {
    const { length } = JSON.stringify(payload);
    if (length > payloadCharactersMax) {
      issues.push({
        path: prefix + path,
        message: `has ${length} characters; at most ${payloadCharactersMax}`,
      });
    }
  }
  if (issues.length === 0) return;
  throw new SettleError('body_too_large', `a payload is too large: ${summaryOf(issues)}`, { issues });
}
