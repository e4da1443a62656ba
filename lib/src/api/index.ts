/** `settle/api`: the native HTTP API as a function from request to response. */
export { createApi, type ApiOptions } from './api.ts';
export { anonymous, keyCharactersMin, type ApiKey } from './auth.ts';
export { createEventHub, type EventFilter, type EventHub, type EventHubOptions } from './events.ts';
export { problemResponse, type Api, type ApiRequest, type ApiResponse } from './exchange.ts';
export { fetchHandler, type FetchOptions } from './fetch.ts';
export { loopbackHosts, type GateOptions } from './gate.ts';
export type { Readiness } from './handlers.ts';
export { apiLimits, type ApiLimits } from './limits.ts';
