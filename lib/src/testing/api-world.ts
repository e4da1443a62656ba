/** The native API over a coordinator in a world of its own. */
import { createApi, type ApiOptions } from '../api/api.ts';
import { createEventHub, type EventHub } from '../api/events.ts';
import type { Api, ApiRequest, ApiResponse } from '../api/exchange.ts';
import { isJsonObject, type Json, type JsonObject } from '../util/json.ts';
import { engineWorld, type EngineWorld } from './engine-world.ts';

export interface ApiWorld extends EngineWorld {
  readonly api: Api;
  readonly hub: EventHub;
  /** What `onError` was told. */
  readonly defects: { readonly error: unknown; readonly id: string }[];
  /** Sends a request from a well-behaved client, save for what `more` says; virtual time passes until the answer. */
  readonly ask: (method: string, path: string, body?: Json, more?: Partial<ApiRequest>) => Promise<Answer>;
}

export interface Answer {
  readonly status: number;
  readonly headers: ApiResponse['headers'];
  readonly json: JsonObject;
}

export async function apiWorld(options: Partial<ApiOptions> = {}): Promise<ApiWorld> {
  const hub = createEventHub();
  const world = await engineWorld({ observe: hub.observe });
  const defects: { readonly error: unknown; readonly id: string }[] = [];
  const api = createApi({
    coordinator: world.engine,
    events: hub,
    readiness: () => world.engine.readiness(),
    version: '1.2.3',
    onError: (error, id) => void defects.push({ error, id }),
    ...options,
  });
  return {
    ...world,
    api,
    hub,
    defects,
    async ask(method, path, body, more) {
      const response = await world.clock.until(api(requestOf(method, path, body, more)));
      if (typeof response.body !== 'string') throw new Error('the answer is a stream');
      const json: unknown = JSON.parse(response.body);
      if (!isJsonObject(json)) throw new Error('the answer is not an object');
      return { status: response.status, headers: response.headers, json };
    },
  };
}

/** A request as curl would send it to loopback. `path` may carry a query. */
export function requestOf(
  method: string,
  path: string,
  body?: Json,
  more: Partial<ApiRequest> = {},
): ApiRequest {
  const [plain = '', query = ''] = path.split('?', 2);
  return {
    method,
    path: plain,
    query,
    body: body === undefined ? '' : JSON.stringify(body),
    ...more,
    headers: {
      host: '127.0.0.1:36789',
      ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
      ...more.headers,
    },
  };
}
