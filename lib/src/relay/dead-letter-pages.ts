/** Pages of dead letters, and how many are taken at once: the same in every store. */
import { SettleError } from '../util/errors.ts';
import type { DeadLetter, DeadLetterQuery } from './store.ts';

export const pageMax = 1_000;
export const takenDefault = 1_000;
export const takenMax = 10_000;

/** Where a page ended: they are listed by these three. */
export type PageEnd = Pick<DeadLetter, 'diedAtMs' | 'lane' | 'seq'>;

export function cursorOf({ diedAtMs, lane, seq }: PageEnd): string {
  return `${diedAtMs}.${lane}.${seq}`;
}

/** Throws `invalid_request` for what is no cursor. */
export function pageEndOf(cursor: string): PageEnd {
  const match = /^(\d{1,16})\.(\d{1,9})\.(\d{1,19})$/.exec(cursor);
  if (match === null) {
    throw new SettleError(
      'invalid_request',
      `the cursor ${cursor.slice(0, 100)} is none of a page of dead letters`,
      { next: 'Give the `next` of the page before, or none' },
    );
  }
  const [, died, lane, seq = ''] = match;
  return { diedAtMs: Number(died), lane: Number(lane), seq: BigInt(seq) };
}

/** Less than 0 where `a` comes first. */
export function byPlace(a: PageEnd, b: PageEnd): number {
  return a.diedAtMs - b.diedAtMs || a.lane - b.lane || (a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0);
}

const conditions: Record<keyof DeadLetterQuery, true> = {
  ids: true,
  type: true,
  cause: true,
  diedBeforeMs: true,
};

/** Throws `invalid_request` for a condition that says nothing: what was meant to choose some must not take all. */
export function checkedQuery(query: DeadLetterQuery): DeadLetterQuery {
  for (const [name, value] of Object.entries(query)) {
    if (Object.hasOwn(conditions, name) && value !== undefined) continue;
    const what = Object.hasOwn(conditions, name) ? `${name} is undefined` : `${name} is no condition`;
    throw new SettleError('invalid_request', `dead letters: ${what}`, {
      next: `Give ${Object.keys(conditions).join(', ')}, or {} for all`,
    });
  }
  return query;
}

/** Throws `invalid_request` unless it is a whole number from 1 to `max`. */
export function checkedLimit(limit: number, max: number): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= max) return limit;
  throw new SettleError('invalid_request', `limit is ${limit}`, {
    next: `Give a whole number from 1 to ${max}`,
  });
}
