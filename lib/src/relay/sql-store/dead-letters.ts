/** Dead letters: looked at in pages, put back where they stood, or deleted. */
import type { OwnStatements, RunSql } from '../../local/own-statements.ts';
import { SettleError } from '../../util/errors.ts';
import type { SqlValue } from '../../util/sql.ts';
import {
  checkedLimit,
  checkedQuery,
  cursorOf,
  pageEndOf,
  pageMax,
  takenDefault,
  takenMax,
} from '../dead-letter-pages.ts';
import type { BlockedKey, DeadCause, DeadLetter, DeadLetterQuery, DeadLetters } from '../store.ts';
import { lockPlaces, type Place } from './move.ts';
import { messageOf, numberOf, optionalTextOf, rowsOf, textOf, type Row } from './rows.ts';
import { whole, wholeMs } from './whole.ts';
import { contents, messageColumns, place, type Words } from './words.ts';

const table = 'settle_outbox_dead';
const order = 'died_at, lane, settle_outbox_dead.seq';
const idsMax = 1_000;

export function deadLettersOf(own: OwnStatements, words: Words): DeadLetters {
  return {
    async list(query, { limit, cursor }) {
      const pageLimit = checkedLimit(limit, pageMax);
      const conditions = new Conditions(words).matching(query);
      if (cursor !== undefined) conditions.after(cursor);
      const { rows } = await own.query(
        `select ${messageColumns(words)}, cause, reason, ${words.exactly('died_at')} as died, blocks_key as blocks
         from ${table} where ${conditions.sql} order by ${order} limit ${pageLimit + 1}`,
        conditions.values,
      );
      const items = rowsOf(rows).slice(0, pageLimit).map(deadLetterOf);
      const last = items.at(-1);
      const hasMore = rows.length > pageLimit && last !== undefined;
      return { items, next: hasMore ? cursorOf(last) : undefined };
    },
    replay: (query, limit) => take(own, words, { query, limit }, putBack),
    purge: (query, limit) => take(own, words, { query, limit }, () => Promise.resolve()),
  };
}

/** Keys that wait for a dead letter of these lanes. Of one key there is one, unless an order was given up meanwhile. */
export async function readBlockedKeys(
  own: OwnStatements,
  _: Words,
  lanes: readonly number[],
): Promise<readonly BlockedKey[]> {
  if (lanes.length === 0) return [];
  const { rows } = await own.query(
    `select lane, target, aggregatetype as address, aggregateid as keyed from ${table}
     where blocks_key = 1 and aggregateid is not null and lane in (${lanes.map((lane) => whole('lane', lane)).join(',')})`,
    [],
  );
  const blocked = rowsOf(rows).map(blockedKeyOf);
  return [...new Map(blocked.map((one) => [JSON.stringify(Object.values(one)), one])).values()];
}

/** Locks, does with them what is to be done, and deletes them here. */
async function take(
  own: OwnStatements,
  words: Words,
  { query, limit = takenDefault }: { readonly query: DeadLetterQuery; readonly limit: number | undefined },
  first: (run: RunSql, words: Words, places: readonly Place[]) => Promise<void>,
): Promise<number> {
  const most = checkedLimit(limit, takenMax);
  const { sql: where, values } = new Conditions(words).matching(query);
  return await own.transaction(async (run) => {
    const places = await lockPlaces(run, words, { table, where, order, values, limit: most });
    if (places.length === 0) return 0;
    await first(run, words, places);
    await run(words.deleteGiven(table), [JSON.stringify(places)]);
    return places.length;
  });
}

/** Under its old number: it is read before whatever came after it. */
async function putBack(run: RunSql, words: Words, places: readonly Place[]): Promise<void> {
  await run(
    `insert into settle_outbox (lane, seq, ${contents}) select o.lane, o.seq, ${contents} from ${words.givenIn(table, place)}`,
    [JSON.stringify(places)],
  );
}

/** What a query asks for, as a condition with its values. */
class Conditions {
  readonly #words: Words;
  readonly #parts: string[] = ['1 = 1'];
  readonly values: SqlValue[] = [];

  constructor(words: Words) {
    this.#words = words;
  }

  get sql(): string {
    return this.#parts.join(' and ');
  }

  matching(query: DeadLetterQuery): this {
    const { ids, type, cause, diedBeforeMs } = checkedQuery(query);
    if (ids !== undefined) this.#among('id', ids);
    if (type !== undefined) this.#among('type', [type]);
    if (cause !== undefined) this.#among('cause', [cause]);
    if (diedBeforeMs !== undefined) this.#parts.push(`died_at < ${wholeMs('diedBeforeMs', diedBeforeMs)}`);
    return this;
  }

  /** Spelled out: MySQL finds no range of an index in a comparison of rows. */
  after(cursor: string): void {
    const { diedAtMs: died, lane, seq } = pageEndOf(cursor);
    this.#parts.push(
      `died_at >= ${died} and (died_at > ${died} or lane > ${lane} or (lane = ${lane} and seq > ${seq}))`,
    );
  }

  /** By the index first, and then byte by byte. */
  #among(column: string, wanted: readonly string[]): void {
    if (wanted.length > idsMax) {
      throw new SettleError('invalid_request', `${wanted.length} ids at once`, {
        next: `Give at most ${idsMax}, and call it again for more`,
      });
    }
    if (wanted.length === 0) return void this.#parts.push('1 = 0');
    const exact = this.#words.bytes(column);
    this.#parts.push(`${column} in (${this.#list(wanted)})`);
    if (exact !== column) this.#parts.push(`${exact} in (${this.#list(wanted)})`);
  }

  #list(wanted: readonly string[]): string {
    return wanted.map((value) => this.#words.parameter(this.values.push(value))).join(', ');
  }
}

function deadLetterOf(row: Row): DeadLetter {
  return {
    ...messageOf(row),
    cause: causeOf(textOf(row, 'cause')),
    reason: textOf(row, 'reason'),
    diedAtMs: numberOf(row, 'died'),
    blocksKey: numberOf(row, 'blocks') === 1,
  };
}

/** What a newer version may have written is shown as the nearest. */
function causeOf(text: string): DeadCause {
  return text === 'poison' || text === 'crash' ? text : 'attempts';
}

function blockedKeyOf(row: Row): BlockedKey {
  return {
    lane: numberOf(row, 'lane'),
    target: textOf(row, 'target'),
    address: textOf(row, 'address'),
    key: optionalTextOf(row, 'keyed') ?? '',
  };
}
