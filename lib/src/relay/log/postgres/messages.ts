/**
 * What PostgreSQL's stream of logical replication says, as far as it is about commits that inserted, and what it is answered.
 * https://www.postgresql.org/docs/current/protocol-replication.html,
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html (version 1)
 */

/** A position in the log. Never compared as text, which is not padded. */
export type Lsn = bigint;

export type LogMessage =
  /** Everything before this position was sent. */
  | { readonly kind: 'alive'; readonly position: Lsn; readonly isAsking: boolean }
  | { readonly kind: 'begin'; readonly xid: number }
  | { readonly kind: 'insert' }
  /** `end`: behind the commit. */
  | { readonly kind: 'commit'; readonly end: Lsn }
  | { readonly kind: 'other' };

const other: LogMessage = { kind: 'other' };
const insert: LogMessage = { kind: 'insert' };
/** Before the message of the plugin: `w`, two positions and a time. */
const logHeader = 25;

export function readMessage(bytes: Uint8Array): LogMessage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes[0] === code('k')) {
    return { kind: 'alive', position: view.getBigUint64(1), isAsking: bytes[17] === 1 };
  }
  if (bytes[0] !== code('w')) return other;
  switch (bytes[logHeader]) {
    case code('B'):
      return { kind: 'begin', xid: view.getUint32(logHeader + 17) };
    case code('I'):
      return insert;
    case code('C'):
      return { kind: 'commit', end: view.getBigUint64(logHeader + 10) };
    default:
      return other;
  }
}

/** Microseconds from 1970 to 2000, from where PostgreSQL counts. */
const epochMicros = 946_684_800_000_000n;

/** The message, whole, that acknowledges everything up to a position; and asks the server for a sign of life. */
export function statusUpdate(acknowledged: Lsn, { isAsking }: { readonly isAsking: boolean }): Uint8Array {
  const bytes = new Uint8Array(39);
  const view = new DataView(bytes.buffer);
  bytes[0] = code('d');
  view.setUint32(1, 38);
  bytes[5] = code('r');
  // Written, flushed, applied.
  for (const at of [6, 14, 22]) view.setBigUint64(at, acknowledged);
  view.setBigUint64(30, BigInt(Date.now()) * 1_000n - epochMicros);
  bytes[38] = isAsking ? 1 : 0;
  return bytes;
}

function code(letter: string): number {
  return letter.charCodeAt(0);
}
