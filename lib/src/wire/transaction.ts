/** What the API answers with: transactions as core shows them, described for OpenAPI. */
import type { Gid } from '../core/ids.ts';
import { actions } from '../core/legal.ts';
import { patterns, statuses, type Pattern, type Status } from '../core/patterns.ts';
import { errorCodes } from '../util/errors.ts';
import * as s from './schema.ts';

/** Nothing more will happen to it. */
export function hasEnded(status: Status): boolean {
  switch (status) {
    case 'committed':
    case 'aborted':
    case 'forgotten':
      return true;
    case 'running':
    case 'finishing':
    case 'compensating':
    case 'trying':
    case 'confirming':
    case 'cancelling':
    case 'prepared':
    case 'scheduled':
    case 'delivering':
      return false;
  }
}

/** Where a transaction is read. A gid needs no escaping. */
export function locationOf(gid: Gid): string {
  return `/v1/transactions/${gid}`;
}

/** One server-sent event of GET /v1/events: a transaction's status or stuckness changed, durably. */
export interface TransactionChange {
  readonly kind: 'transaction';
  readonly gid: Gid;
  readonly pattern: Pattern;
  readonly name: string;
  readonly status: Status;
  readonly stuck: boolean;
  readonly atMs: number;
}

const text = s.string({ max: 1_000_000 });
const time = s.describe(
  s.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  'Milliseconds since 1970 by the clock of the store.',
);
const count = s.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const status = s.named('Status', s.oneOf(statuses));

const branch = s.named(
  'Branch',
  s.object({
    branch: text,
    op: s.oneOf(['action', 'compensate', 'try', 'confirm', 'cancel', 'check']),
    status: s.oneOf([
      'waiting',
      'called',
      'done',
      'refused',
      'parked',
      'skipped',
      'undoing',
      'undone',
      'confirming',
      'confirmed',
    ]),
    attempts: count,
    result: s.optional(s.json),
    reason: s.optional(text),
  }),
);

const history = s.named(
  'HistoryEntry',
  s.union('kind', {
    call: s.object({
      kind: s.literal('call'),
      atMs: time,
      branch: text,
      op: text,
      attempt: count,
      outcome: s.oneOf(['done', 'refused', 'ongoing', 'unknown']),
      detail: s.optional(text),
    }),
    action: s.object({ kind: s.literal('action'), atMs: time, action: text, reason: text, actor: text }),
    status: s.object({ kind: s.literal('status'), atMs: time, status }),
    'left-out': s.object({ kind: s.literal('left-out'), atMs: time, count }),
  }),
);

const summaryMembers = {
  gid: text,
  pattern: s.oneOf(patterns),
  name: text,
  status,
  stuck: s.describe(s.boolean, 'A branch waits for a person, or was asked many times in vain.'),
  createdAtMs: time,
  updatedAtMs: time,
};

/** A `TransactionView` of core. */
export const transactionSchema = s.named(
  'Transaction',
  s.object({
    ...summaryMembers,
    reason: s.optional(s.describe(text, 'Why it aborted, compensates or was forgotten.')),
    branches: s.array(branch, { max: 1_000 }),
    history: s.optional(
      s.describe(s.array(history, { max: 1_000 }), 'What was asked and answered, oldest first.'),
    ),
  }),
);

/** A `TransactionPage` of core. */
export const pageSchema = s.named(
  'TransactionPage',
  s.object({
    items: s.array(s.named('TransactionSummary', s.object(summaryMembers)), { max: 1_000 }),
    next: s.optional(s.describe(text, 'Hand it back as `cursor`; absent at the end.')),
  }),
);

/** A `Problem`. */
export const problemSchema = s.named(
  'Problem',
  s.object({
    type: s.describe(text, '`urn:settle:error:<code>`'),
    title: text,
    status: s.integer({ min: 400, max: 599 }),
    code: s.oneOf(errorCodes),
    detail: text,
    next: s.describe(text, 'What will happen, or what the caller can do now.'),
    gid: s.optional(text),
    issues: s.optional(s.array(s.object({ path: text, message: text }), { max: 1_000 })),
    retryAfterMs: s.optional(s.number({ min: 0, max: Number.MAX_SAFE_INTEGER })),
    id: s.optional(text),
  }),
);

/** One outcome for each submit of a batch, in order. */
export const outcomesSchema = s.named(
  'SubmitOutcomes',
  s.object({
    outcomes: s.array(
      s.union('kind', {
        accepted: s.object({ kind: s.literal('accepted'), transaction: transactionSchema }),
        rejected: s.object({ kind: s.literal('rejected'), error: problemSchema }),
      }),
      { max: 1_000 },
    ),
  }),
);

/** A {@link TransactionChange}. */
export const changeSchema = s.named(
  'TransactionChange',
  s.object({
    kind: s.literal('transaction'),
    gid: text,
    pattern: s.oneOf(patterns),
    name: text,
    status,
    stuck: s.boolean,
    atMs: time,
  }),
);

const legality = s.describe(
  s.json,
  '"legal", "when-stuck" (only while the transaction is stuck), or { "never": "<reason>" }.',
);

/** The legal table of core. */
export const legalSchema = s.named(
  'LegalTable',
  s.object({
    actions: s.array(s.oneOf(actions), { max: actions.length }),
    statuses: s.array(status, { max: statuses.length }),
    table: s.describe(
      s.record(s.record(legality, { keyMax: 64, max: 64 }), { keyMax: 64, max: 64 }),
      'By status, then by action.',
    ),
  }),
);

/** Of both health routes, when all is well. */
export const healthSchema = s.named('Health', s.object({ status: s.oneOf(['live', 'ready']) }));
