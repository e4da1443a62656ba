/**
 * What MariaDB's and MySQL's binary log says, as far as it is about who wrote into which table and what became of it.
 * https://mariadb.com/kb/en/replication-protocol/, https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html
 *
 * Rows are not decoded, except for the two whole numbers that the key of a message consists of.
 */

export type BinlogEvent =
  /** What comes next is in this file, from there on. */
  | { readonly kind: 'rotate'; readonly file: string; readonly at: number }
  /** A group of events begins; one that `isAlone` is a single statement, which nothing ends. */
  | { readonly kind: 'group'; readonly isAlone: boolean }
  | {
      readonly kind: 'table';
      readonly id: number;
      readonly schema: string;
      readonly name: string;
      readonly types: Uint8Array;
    }
  | { readonly kind: 'insert'; readonly table: number; readonly rows: Rows | undefined }
  /** Undefined where it is compressed. */
  | { readonly kind: 'statement'; readonly text: string | undefined }
  | { readonly kind: 'commit' }
  | { readonly kind: 'prepare'; readonly xid: string; readonly isOnePhase: boolean }
  /** A whole transaction, compressed. */
  | { readonly kind: 'sealed' }
  | { readonly kind: 'other' };

export interface LoggedEvent {
  readonly event: BinlogEvent;
  /** Where it ends in its file; 0 where the server does not say. */
  readonly end: number;
}

/** Rows of an insert: a bitmap of the columns that are there, and the bytes of the rows. */
export interface Rows {
  readonly columns: number;
  readonly present: Uint8Array;
  readonly values: Uint8Array;
}

/** Which row it is. */
export interface RowKey {
  readonly lane: bigint;
  readonly seq: bigint;
}

const headerLength = 19;
const decoder = new TextDecoder();

/** Reads the events of one connection, in their order: what describes the format comes before what is written in it. */
export class EventReader {
  #checksumLength: number;

  /** Whether those have a checksum that come before any description of the format. */
  constructor({ hasChecksum }: { readonly hasChecksum: boolean }) {
    this.#checksumLength = hasChecksum ? checksumLength : 0;
  }

  read(bytes: Uint8Array): LoggedEvent {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const type = bytes[4] ?? 0;
    // Says itself, before its own checksum, whether others have one.
    if (type === formatDescription) this.#checksumLength = bytes.at(-5) === 1 ? checksumLength : 0;
    const body = bytes.subarray(headerLength, bytes.length - this.#checksumLength);
    return { event: readBody(type, body), end: view.getUint32(13, true) };
  }
}

const formatDescription = 15;
const checksumLength = 4;

function readBody(type: number, body: Uint8Array): BinlogEvent {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  switch (type) {
    case 2:
      return { kind: 'statement', text: statementOf(body, view) };
    case 165:
      return { kind: 'statement', text: undefined };
    case 4:
      return {
        kind: 'rotate',
        at: Number(view.getBigUint64(0, true)),
        file: decoder.decode(body.subarray(8)),
      };
    case 16:
      return { kind: 'commit' };
    case 19:
      return tableOf(body, view);
    case 23:
      return { kind: 'insert', table: tableId(view), rows: rowsOf(body, 8) };
    case 30:
      return { kind: 'insert', table: tableId(view), rows: rowsOf(body, 8 + view.getUint16(8, true)) };
    // Compressed by MariaDB.
    case 166:
    case 169:
      return { kind: 'insert', table: tableId(view), rows: undefined };
    // MySQL's GTID, and what stands for it where there is none.
    case 33:
    case 34:
      return { kind: 'group', isAlone: true };
    // MariaDB's. The first bit is for a group without an end.
    case 162:
      return { kind: 'group', isAlone: (view.getUint8(12) & 1) === 1 };
    case 38:
      return preparedOf(body, view);
    case 40:
      return { kind: 'sealed' };
    default:
      return { kind: 'other' };
  }
}

function statementOf(body: Uint8Array, view: DataView): string {
  const schemaLength = view.getUint8(8);
  const statusLength = view.getUint16(11, true);
  return decoder.decode(body.subarray(13 + statusLength + schemaLength + 1));
}

function tableId(view: DataView): number {
  return view.getUint32(0, true) + view.getUint16(4, true) * 2 ** 32;
}

function tableOf(body: Uint8Array, view: DataView): BinlogEvent {
  const schemaEnd = 9 + view.getUint8(8);
  const nameEnd = schemaEnd + 2 + view.getUint8(schemaEnd + 1);
  const { value: columns, next } = lengthAt(body, nameEnd + 1);
  return {
    kind: 'table',
    id: tableId(view),
    schema: decoder.decode(body.subarray(9, schemaEnd)),
    name: decoder.decode(body.subarray(schemaEnd + 2, nameEnd)),
    types: body.subarray(next, next + columns),
  };
}

function rowsOf(body: Uint8Array, at: number): Rows {
  const { value: columns, next } = lengthAt(body, at);
  const values = next + Math.ceil(columns / 8);
  return { columns, present: body.subarray(next, values), values: body.subarray(values) };
}

function preparedOf(body: Uint8Array, view: DataView): BinlogEvent {
  const format = view.getUint32(1, true);
  const [gtrid, bqual] = [view.getUint32(5, true), view.getUint32(9, true)];
  const data = body.subarray(13, 13 + gtrid + bqual);
  return {
    kind: 'prepare',
    isOnePhase: body[0] === 1,
    xid: xidOf(hexOf(data.subarray(0, gtrid)), hexOf(data.subarray(gtrid)), format),
  };
}

/** The protocol's whole number of variable length: no table has 2^16 columns. */
function lengthAt(bytes: Uint8Array, at: number): { readonly value: number; readonly next: number } {
  const first = bytes[at] ?? 0;
  if (first < 0xfb) return { value: first, next: at + 1 };
  return { value: (bytes[at + 1] ?? 0) + (bytes[at + 2] ?? 0) * 256, next: at + 3 };
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function xidOf(gtrid: string, bqual: string, format: number): string {
  return `${gtrid}:${bqual}:${format}`;
}

/** The xid of `XA COMMIT X'6162',X'',1`, as both servers write it; undefined where it is written otherwise. */
export function xidIn(statement: string): string | undefined {
  const [, gtrid = '', bqual = '', format = '1'] =
    /^xa \w+\s+x'([0-9a-f]*)'(?:\s*,\s*x'([0-9a-f]*)')?(?:\s*,\s*(\d+))?/i.exec(statement) ?? [];
  return gtrid === '' ? undefined : xidOf(gtrid.toLowerCase(), bqual.toLowerCase(), Number(format));
}

/** Bytes of the whole numbers: TINY, SHORT, LONG, LONGLONG, INT24. */
const widths: Readonly<Record<number, number>> = { 1: 1, 2: 2, 3: 4, 8: 8, 9: 3 };

/** The key of the first row, whose first two columns it is; undefined where they are not there, or no whole numbers. */
export function firstKey({ columns, present, values }: Rows, types: Uint8Array): RowKey | undefined {
  const [lane, seq] = [widths[types[0] ?? 0], widths[types[1] ?? 0]];
  if (lane === undefined || seq === undefined || ((present[0] ?? 0) & 3) !== 3) return undefined;
  const there = Array.from({ length: columns }, (_, n) => ((present[n >> 3] ?? 0) >> (n & 7)) & 1);
  const begin = Math.ceil(there.reduce((sum, bit) => sum + bit, 0) / 8);
  return {
    lane: numberOf(values.subarray(begin, begin + lane)),
    seq: numberOf(values.subarray(begin + lane, begin + lane + seq)),
  };
}

function numberOf(littleEndian: Uint8Array): bigint {
  return littleEndian.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
}
