/** The statements of the inbox: one function each. */
import type { MessageKey } from './message-key.ts';
import type { Statement, Words } from './words.ts';

export function insertMessage(w: Words, { consumer, messageId }: MessageKey): Statement {
  return {
    sql: `insert into settle_inbox (consumer, message_id) values (${w.value(1)}, ${w.bytesValue(2)}) ${w.unlessThere}`,
    values: [consumer, w.bytes(messageId)],
  };
}

/** Of a message that is there. */
export function selectResult(w: Words, { consumer, messageId }: MessageKey): Statement {
  return {
    sql: `select result from settle_inbox where consumer = ${w.value(1)} and message_id = ${w.bytesValue(2)} ${w.latest}`,
    values: [consumer, w.bytes(messageId)],
  };
}

export function updateResult(w: Words, { consumer, messageId }: MessageKey, result: string): Statement {
  return {
    sql: `update settle_inbox set result = ${w.value(1)}
      where consumer = ${w.value(2)} and message_id = ${w.bytesValue(3)}`,
    values: [result, consumer, w.bytes(messageId)],
  };
}

/** Whole numbers, checked, in the text: mysql2 may send a number as a double, which MySQL does not take for a limit. */
export function deleteOld(w: Words, olderThanMs: number, limit: number): Statement {
  const where = `created_at < ${w.nowMs} - ${olderThanMs}`;
  return { sql: w.deleteFirst('settle_inbox', where, 'created_at', limit), values: [] };
}

export const selectVersion = "select version from settle_schema where name = 'inbox'";
