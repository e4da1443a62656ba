/** Messages that a consumer could not handle, kept beside its inbox for people to look at, and to be handled again. */
import { SettleError } from '../util/errors.ts';
import type { SqlValue } from '../util/sql.ts';
import { asciiJson } from './kept-result.ts';
import { consumerName } from './message-key.ts';
import { isRow, type Ask, type Statement, type Words } from './words.ts';

/**
 * - `refused`: its handler said that it will never succeed.
 * - `invalid`: it cannot be read, or is not what its type has to be.
 * - `unknown-type`: nobody handles its type.
 * - `attempts`: it failed as often as it was to be tried.
 */
export type DeadCause = 'refused' | 'invalid' | 'unknown-type' | 'attempts';

export interface NewDeadLetter {
  readonly consumer: string;
  readonly messageId: string;
  /** The message as it came, as JSON. */
  readonly message: string;
  readonly cause: DeadCause;
  readonly reason: string;
  readonly attempts: number;
}

export interface InboxDeadLetter extends NewDeadLetter {
  /** Milliseconds since 1970, by the clock of the database. */
  readonly diedAtMs: number;
}

/** All conditions must hold. */
export interface InboxDeadQuery {
  readonly consumer: string;
  /** At most 100. */
  readonly messageIds?: readonly string[];
  readonly cause?: DeadCause;
  readonly diedBeforeMs?: number;
}

export interface InboxDeadPage {
  /** 1 to 1,000. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string | undefined;
}

export interface InboxDeadLetters {
  /** Writes it down, durably once this resolves. One that is there with its consumer and id is overwritten. */
  add(letter: NewDeadLetter): Promise<void>;
  /** Oldest first. */
  list(
    query: InboxDeadQuery,
    page: InboxDeadPage,
  ): Promise<{ readonly items: readonly InboxDeadLetter[]; readonly next: string | undefined }>;
  /** Deletes them, at most `limit` (1 to 1,000, default 1,000), oldest first. Gives back how many. */
  purge(query: InboxDeadQuery, limit?: number): Promise<number>;
}

export const deadLimitMax = 1_000;
export const deadIdsMax = 100;
/** Characters; what goes beyond is cut off. */
export const deadReasonLengthMax = 2_000;

type InOwn = <T>(work: (ask: Ask) => Promise<T>) => Promise<T>;

export function deadLettersIn(w: Words, inOwn: InOwn): InboxDeadLetters {
  return {
    add: async (letter) => void (await inOwn((ask) => ask(insert(w, letter)))),
    async list(query, { limit, cursor }) {
      checkLimit(limit);
      // One more, which says whether there is another page.
      const { rows } = await inOwn((ask) => ask(select(w, query, limit + 1, cursor)));
      const items = rows.slice(0, limit).map((row) => letterOf(w, row));
      const last = items.at(-1);
      return { items, next: rows.length > limit && last !== undefined ? cursorOf(last) : undefined };
    },
    async purge(query, limit = deadLimitMax) {
      checkLimit(limit);
      const { affected } = await inOwn((ask) => ask(remove(w, query, limit)));
      return affected;
    },
  };
}

function insert(w: Words, letter: NewDeadLetter): Statement {
  const { consumer, messageId, message, cause, reason, attempts } = letter;
  const overwritten = ['message', 'cause', 'reason', 'attempts', 'died_at'];
  return {
    sql: `insert into settle_inbox_dead (consumer, message_id, message, cause, reason, attempts, died_at)
      values (${w.value(1)}, ${w.bytesValue(2)}, ${w.value(3)}, ${w.value(4)}, ${w.value(5)}, ${w.value(6)}, ${w.nowMs})
      ${w.overwriting(['consumer', 'message_id'], overwritten)}`,
    values: [
      consumerName(consumer),
      w.bytes(messageId),
      asciiJson(message),
      cause,
      storableReason(reason),
      attempts,
    ],
  };
}

const order = 'died_at, message_id';

function select(w: Words, query: InboxDeadQuery, limit: number, cursor: string | undefined): Statement {
  const where = new Where(w, query);
  if (cursor !== undefined) where.after(cursor);
  return {
    // Names of one word: libraries may change others on their way.
    sql: `select consumer, ${w.readBytes('message_id')} as id, message, cause, reason, attempts, died_at as died
      from settle_inbox_dead where ${where.sql} order by ${order} limit ${limit}`,
    values: where.values,
  };
}

function remove(w: Words, query: InboxDeadQuery, limit: number): Statement {
  const where = new Where(w, query);
  return { sql: w.deleteFirst('settle_inbox_dead', where.sql, order, limit), values: where.values };
}

class Where {
  readonly values: SqlValue[] = [];
  readonly #w: Words;
  readonly #conditions: string[] = [];

  constructor(w: Words, query: InboxDeadQuery) {
    checkQuery(query);
    const { consumer, messageIds, cause, diedBeforeMs } = query;
    this.#w = w;
    this.#conditions.push(`consumer = ${this.#value(consumerName(consumer))}`);
    if (cause !== undefined) this.#conditions.push(`cause = ${this.#value(cause)}`);
    if (diedBeforeMs !== undefined) {
      this.#conditions.push(`died_at < ${diedBeforeMs}`);
    }
    if (messageIds !== undefined) {
      const ids = messageIds.map((id) => this.#bytes(id));
      this.#conditions.push(ids.length === 0 ? '1 = 0' : `message_id in (${ids.join(', ')})`);
    }
  }

  get sql(): string {
    return this.#conditions.join(' and ');
  }

  after(cursor: string): void {
    const { diedAtMs, messageId } = placeOf(cursor);
    const later = `died_at > ${diedAtMs}`;
    this.#conditions.push(`(${later} or (died_at = ${diedAtMs} and message_id > ${this.#bytes(messageId)}))`);
  }

  #value(value: SqlValue): string {
    return this.#w.value(this.values.push(value));
  }

  #bytes(text: string): string {
    return this.#w.bytesValue(this.values.push(this.#w.bytes(text)));
  }
}

function letterOf(w: Words, row: unknown): InboxDeadLetter {
  const { consumer, id, message, cause, reason, attempts, died } = isRow(row) ? row : {};
  return {
    consumer: String(consumer),
    messageId: w.textOf(id),
    message: String(message),
    cause: deadCauseIn(cause),
    reason: String(reason),
    attempts: Number(attempts),
    diedAtMs: Number(died),
  };
}

/** What this version does not know was written by a newer one. */
export function deadCauseIn(stored: unknown): DeadCause {
  return causes.find((known) => known === stored) ?? 'attempts';
}

const causes: readonly DeadCause[] = ['refused', 'invalid', 'unknown-type', 'attempts'];

export function cursorOf({ diedAtMs, messageId }: Pick<InboxDeadLetter, 'diedAtMs' | 'messageId'>): string {
  return `${diedAtMs}:${messageId}`;
}

/** Throws `invalid_request` for what was never a cursor. */
export function placeOf(cursor: string): Pick<InboxDeadLetter, 'diedAtMs' | 'messageId'> {
  const [, diedAt, messageId] = /^(\d{1,15}):(.+)$/s.exec(cursor) ?? [];
  if (diedAt === undefined || messageId === undefined) throw invalid('the cursor is none that list() gave');
  return { diedAtMs: Number(diedAt), messageId };
}

export function checkLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= deadLimitMax) return;
  throw invalid(`limit is ${limit}, not a whole number from 1 to ${deadLimitMax}`);
}

/** Throws `invalid_request`. */
export function checkQuery({ messageIds, diedBeforeMs }: InboxDeadQuery): void {
  if (messageIds !== undefined && messageIds.length > deadIdsMax) {
    throw invalid(`there are more than ${deadIdsMax} messageIds`);
  }
  if (diedBeforeMs !== undefined && !Number.isSafeInteger(diedBeforeMs)) {
    throw invalid(`diedBeforeMs is ${diedBeforeMs}, not a whole number`);
  }
}

function invalid(what: string): SettleError {
  return new SettleError('invalid_request', what, { next: 'Correct the query' });
}

/** A zero character is what PostgreSQL cannot store. */
export function storableReason(reason: string): string {
  return reason.slice(0, deadReasonLengthMax).replaceAll('\0', ' ').toWellFormed();
}
