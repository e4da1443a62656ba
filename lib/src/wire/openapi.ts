/** The API as an OpenAPI 3.1 document, printed from the schemas that check the requests. */
import { errorCodes, type ErrorCode } from '../util/errors.ts';
import type { JsonObject } from '../util/json.ts';
import { problemMediaType, statusOf } from './problem.ts';
import type { Answer, Route } from './routes.ts';
import { gidSchema } from './requests.ts';
import { definitions, type Define } from './schema.ts';
import { problemSchema } from './transaction.ts';

/** Any route may answer with these. */
const general: readonly ErrorCode[] = ['invalid_request', 'overloaded', 'unavailable', 'internal'];
const behindKey: readonly ErrorCode[] = ['unauthenticated', 'origin_not_allowed', 'host_not_allowed'];
const withBody: readonly ErrorCode[] = ['body_too_large', 'unsupported_media_type'];

/** The document for these routes; `version` is the release's. */
export function openApi(routes: readonly Route[], version: string): JsonObject {
  const schemas: Record<string, JsonObject> = {};
  const define = definitions(schemas, '#/components/schemas/');
  const paths: Record<string, Record<string, JsonObject>> = {};
  for (const route of routes) {
    const path = (paths[route.path] ??= {});
    path[route.method.toLowerCase()] = operation(route, define);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Settle',
      version,
      description: 'Distributed transactions that settle: everywhere or nowhere.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ apiKey: [] }],
    paths,
    components: {
      schemas,
      securitySchemes: {
        apiKey: { type: 'http', scheme: 'bearer', description: 'Needed once an API key is configured.' },
      },
    },
  };
}

function operation(route: Route, define: Define): JsonObject {
  const parameters = [
    ...(route.path.includes('{gid}')
      ? [{ name: 'gid', in: 'path', required: true, schema: gidSchema.print(define) }]
      : []),
    ...queryParameters(route, define),
  ];
  return {
    operationId: route.operation,
    summary: route.summary,
    ...(route.access === 'open' ? { security: [] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: route.body.print(define) } },
          },
        }),
    responses: { ...successes(route, define), ...problems(route, define) },
  };
}

function queryParameters({ query }: Route, define: Define): readonly JsonObject[] {
  if (query === undefined) return [];
  return [...query.members].map(([name, { schema, required }]) => {
    const printed = schema.print(define);
    // `?status=a,b` and `?status=a&status=b` are both read; the former is what is announced.
    const list = printed['type'] === 'array' ? { style: 'form', explode: false } : {};
    return { name, in: 'query', required, schema: printed, ...list };
  });
}

function successes({ answers }: Route, define: Define): Record<string, JsonObject> {
  const printed: Record<string, JsonObject> = {};
  for (const [status, answer] of Object.entries<Answer>(answers)) {
    const { description, schema, mediaType = 'application/json', location } = answer;
    printed[status] = {
      description,
      ...(location === undefined
        ? {}
        : { headers: { Location: { description: 'Where it is read.', schema: { type: 'string' } } } }),
      content: { [mediaType]: { schema: schema.print(define) } },
    };
  }
  return printed;
}

function problems(route: Route, define: Define): Record<string, JsonObject> {
  const possible = new Set<ErrorCode>([
    ...general,
    ...(route.access === 'key' ? behindKey : []),
    ...(route.body === undefined ? [] : withBody),
    ...route.problems,
  ]);
  const codes = new Map<number, ErrorCode[]>();
  for (const code of errorCodes) {
    if (!possible.has(code)) continue;
    codes.set(statusOf(code), [...(codes.get(statusOf(code)) ?? []), code]);
  }
  const printed: Record<string, JsonObject> = {};
  for (const [status, these] of codes) {
    printed[status] = {
      description: these.map((code) => `\`${code}\``).join(', '),
      content: { [problemMediaType]: { schema: problemSchema.print(define) } },
    };
  }
  return printed;
}
