/** Rows as drivers give them, read by what they must be. Wider numbers come as text, or as what the driver takes them for. */
import { assert } from '../../util/assert.ts';
import type { Headers, StoredMessage } from '../../outbox/message.ts';

export type Row = Readonly<Record<string, unknown>>;

export function rowsOf(rows: readonly unknown[]): readonly Row[] {
  return rows.map((row) => {
    assert(isRow(row), 'a row is an object by column name');
    return row;
  });
}

export function textOf(row: Row, column: string): string {
  const value = row[column];
  assert(typeof value === 'string', `the column ${column} is text`);
  return value;
}

export function optionalTextOf(row: Row, column: string): string | undefined {
  return row[column] === null ? undefined : textOf(row, column);
}

/** At most 2^53. */
export function numberOf(row: Row, column: string): number {
  const value = Number(row[column] ?? NaN);
  assert(Number.isSafeInteger(value), `the column ${column} is a whole number`);
  return value;
}

export function optionalNumberOf(row: Row, column: string): number | undefined {
  return row[column] === null ? undefined : numberOf(row, column);
}

/** Of a column that was selected `exactly`. */
export function wholeOf(row: Row, column: string): bigint {
  return BigInt(textOf(row, column));
}

export function messageOf(row: Row): StoredMessage {
  return {
    seq: wholeOf(row, 'seq'),
    lane: numberOf(row, 'lane'),
    id: textOf(row, 'id'),
    type: textOf(row, 'type'),
    version: numberOf(row, 'version'),
    target: textOf(row, 'target'),
    address: textOf(row, 'address'),
    key: optionalTextOf(row, 'keyed'),
    payload: textOf(row, 'payload'),
    headers: headersOf(optionalTextOf(row, 'headers')),
    createdAtMs: numberOf(row, 'created'),
    attempts: numberOf(row, 'attempts'),
    starts: numberOf(row, 'starts'),
    dueAtMs: optionalNumberOf(row, 'due'),
  };
}

const none: Headers = {};

/** What is no object of texts was not written by an outbox; it must not keep the messages around it from being read. */
function headersOf(text: string | undefined): Headers {
  if (text === undefined) return none;
  try {
    const parsed: unknown = JSON.parse(text);
    return isRow(parsed) && Object.values(parsed).every((value) => typeof value === 'string')
      ? (parsed as Headers)
      : none;
  } catch {
    return none;
  }
}

function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null;
}
