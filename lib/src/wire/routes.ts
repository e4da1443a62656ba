/** Every route of the native API as data: what routing, OpenAPI, the documentation and the tests go by. */
import { pageMax, waitMaxMs } from '../core/coordinator.ts';
import { patterns, statuses } from '../core/patterns.ts';
import type { ErrorCode } from '../util/errors.ts';
import {
  abortSchema,
  actionSchema,
  commitSchema,
  gidSchema,
  registerSchema,
  submitManySchema,
  submitSchema,
  waitSchema,
} from './requests.ts';
import * as s from './schema.ts';
import {
  changeSchema,
  healthSchema,
  legalSchema,
  outcomesSchema,
  pageSchema,
  transactionSchema,
} from './transaction.ts';

export interface Route {
  readonly operation: string;
  readonly method: 'GET' | 'POST';
  /** With `{gid}` in place of the gid. */
  readonly path: string;
  /** `open` routes answer anybody: they tell nothing but whether we are up. */
  readonly access: 'key' | 'open';
  readonly summary: string;
  readonly query?: s.ObjectSchema<unknown>;
  readonly body?: s.Schema<unknown>;
  /** By status, the answers that are not a problem. */
  readonly answers: Readonly<Record<number, Answer>>;
  /** Of this route, beside those that any route may give. */
  readonly problems: readonly ErrorCode[];
}

export interface Answer {
  readonly description: string;
  readonly schema: s.Schema<unknown>;
  /** Default `application/json`. */
  readonly mediaType?: string;
  /** The Location header says where the transaction is read. */
  readonly location?: true;
}

const milliseconds = s.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

/** Of GET /v1/transactions. */
export const listQuery = s.object({
  status: s.optional(s.describe(s.array(s.oneOf(statuses), { max: 64 }), 'Any of these.')),
  pattern: s.optional(s.oneOf(patterns)),
  name: s.optional(s.string({ min: 1, max: 128 })),
  stuck: s.optional(s.boolean),
  createdFromMs: s.optional(s.describe(milliseconds, 'Created at this time or later.')),
  createdToMs: s.optional(s.describe(milliseconds, 'Created before this time.')),
  gidContains: s.optional(s.string({ min: 1, max: 128 })),
  cursor: s.optional(s.describe(s.string({ min: 1, max: 1_024 }), '`next` of the page before.')),
  limit: s.optional(s.describe(s.integer({ min: 1, max: pageMax }), 'Items of a page.', { default: 50 })),
});

/** Of GET /v1/transactions/{gid}. */
export const getQuery = s.object({ waitMs: s.optional(waitSchema) });

/** Of GET /v1/events. */
export const eventsQuery = s.object({
  gid: s.optional(gidSchema),
  status: s.optional(s.describe(s.array(s.oneOf(statuses), { max: 64 }), 'Any of these.')),
});

const ended: Answer = { description: 'It has ended.', schema: transactionSchema };
const going: Answer = {
  description: 'It is durable and still going.',
  schema: transactionSchema,
  location: true,
};
const ofSubmit = [
  'invalid_definition',
  'address_not_allowed',
  'limit_exceeded',
  'function_not_registered',
] as const;
const ofGid = ['transaction_not_found'] as const;

/** In the order in which a reader meets them. */
export const routes = [
  {
    operation: 'submit',
    method: 'POST',
    path: '/v1/transactions',
    access: 'key',
    summary: 'Start a saga, begin a TCC transaction, or prepare a message',
    body: submitSchema,
    answers: { 200: ended, 202: going },
    problems: ['gid_conflict', ...ofSubmit],
  },
  {
    operation: 'submitMany',
    method: 'POST',
    path: '/v1/transactions/batch',
    access: 'key',
    summary: 'Submit several transactions, durable together, each with its own outcome',
    body: submitManySchema,
    answers: { 200: { description: 'One outcome for each, in order.', schema: outcomesSchema } },
    problems: ['limit_exceeded'],
  },
  {
    operation: 'list',
    method: 'GET',
    path: '/v1/transactions',
    access: 'key',
    summary: 'List and search transactions, newest first',
    query: listQuery,
    answers: { 200: { description: 'A page.', schema: pageSchema } },
    problems: [],
  },
  {
    operation: 'get',
    method: 'GET',
    path: '/v1/transactions/{gid}',
    access: 'key',
    summary: 'Read one transaction with the history of its branches',
    query: getQuery,
    answers: { 200: { description: 'As it is now.', schema: transactionSchema } },
    problems: ofGid,
  },
  {
    operation: 'register',
    method: 'POST',
    path: '/v1/transactions/{gid}/branches',
    access: 'key',
    summary: 'TCC: add branches and call their tries',
    body: registerSchema,
    answers: { 200: ended, 202: going },
    problems: [...ofGid, 'illegal_action', ...ofSubmit],
  },
  {
    operation: 'commit',
    method: 'POST',
    path: '/v1/transactions/{gid}/commit',
    access: 'key',
    summary: 'TCC: confirm everything; message: deliver it',
    body: commitSchema,
    answers: { 200: ended, 202: going },
    problems: [...ofGid, 'illegal_action'],
  },
  {
    operation: 'abort',
    method: 'POST',
    path: '/v1/transactions/{gid}/abort',
    access: 'key',
    summary: 'Undo what was done, cancel what was tried, or drop the message',
    body: abortSchema,
    answers: { 200: ended, 202: going },
    problems: [...ofGid, 'illegal_action'],
  },
  {
    operation: 'act',
    method: 'POST',
    path: '/v1/transactions/{gid}/actions',
    access: 'key',
    summary: 'Take an action of the legal table',
    body: actionSchema,
    answers: { 200: ended, 202: going },
    problems: [...ofGid, 'illegal_action'],
  },
  {
    operation: 'events',
    method: 'GET',
    path: '/v1/events',
    access: 'key',
    summary: 'Follow the changes of transactions as server-sent events',
    query: eventsQuery,
    answers: {
      200: {
        description:
          'Events named `transaction`; at the end `dropped` (read too slowly) or `closing` (we shut down). Nothing is repeated: after a reconnect, list.',
        schema: changeSchema,
        mediaType: 'text/event-stream',
      },
    },
    problems: ['shutting_down'],
  },
  {
    operation: 'legal',
    method: 'GET',
    path: '/v1/legal',
    access: 'key',
    summary: 'Which action is legal in which status',
    answers: { 200: { description: 'The table.', schema: legalSchema } },
    problems: [],
  },
  {
    operation: 'openapi',
    method: 'GET',
    path: '/v1/openapi.json',
    access: 'key',
    summary: 'This API as an OpenAPI 3.1 document',
    answers: { 200: { description: 'The document.', schema: s.json } },
    problems: [],
  },
  {
    operation: 'live',
    method: 'GET',
    path: '/health/live',
    access: 'open',
    summary: 'Whether the process answers',
    answers: { 200: { description: 'It does.', schema: healthSchema } },
    problems: [],
  },
  {
    operation: 'ready',
    method: 'GET',
    path: '/health/ready',
    access: 'open',
    summary: 'Whether the store can be written and we are not shutting down',
    answers: { 200: { description: 'Send us work.', schema: healthSchema } },
    problems: ['unavailable'],
  },
] as const satisfies readonly Route[];

type AnyRoute = (typeof routes)[number];
export type Operation = AnyRoute['operation'];
/** Operations on one transaction, named in the path. */
export type GidOperation = Extract<AnyRoute, { readonly path: `${string}{gid}${string}` }>['operation'];

/** The largest `waitMs`; a server's own timeout for one request must be longer. */
export const requestMaxMs: number = waitMaxMs + 10_000;
