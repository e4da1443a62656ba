/** What identifies a message to a consumer: its own name, and the id of the message. Both compare byte by byte. */
import { SettleError } from '../util/errors.ts';

/** Bytes of UTF-8; brokers and the ids they give themselves stay far below. */
export const messageIdBytesMax = 512;
export const consumerNameLengthMax = 64;

export interface MessageKey {
  readonly consumer: string;
  readonly messageId: string;
}

/** Throws `config_invalid` for a name of a consumer, `message_invalid` for an id that no row can have. */
export function messageKey(consumer: string, messageId: string): MessageKey {
  return { consumer: consumerName(consumer), messageId: checkedId(messageId) };
}

/** The name is the identity: who takes another one has seen no message yet. */
export function consumerName(name: string): string {
  if (new RegExp(`^[\\w.:/-]{1,${consumerNameLengthMax}}$`).test(name)) return name;
  throw new SettleError('config_invalid', `${JSON.stringify(name)} is no name of a consumer`, {
    next: `Give 1 to ${consumerNameLengthMax} letters, digits and any of _ . : / -, and never change it`,
  });
}

function checkedId(messageId: string): string {
  const why = whyNoId(messageId);
  if (why === undefined) return messageId;
  throw new SettleError('message_invalid', `the id of the message ${why}`, {
    next: 'Have it sent with an id of its own; by it a repeat is recognised',
  });
}

/** What is wrong with an id; undefined when nothing is. */
export function whyNoId(messageId: string): string | undefined {
  if (messageId === '') return 'is empty';
  if (Buffer.byteLength(messageId) > messageIdBytesMax) return `has more than ${messageIdBytesMax} bytes`;
  // Two of these would be stored as the same bytes.
  if (!messageId.isWellFormed()) return 'is no Unicode text';
  // PostgreSQL cannot store it.
  return messageId.includes('\0') ? 'contains a zero character' : undefined;
}
