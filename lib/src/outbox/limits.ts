/** How much of what one message, one statement and one transaction may have. */
import { columnLengths } from './schema/limits.ts';

/** Bytes of a payload as JSON in UTF-8, unless the outbox says otherwise. */
export const payloadBytesMaxDefault = 1_048_576;
/** Characters. They are what columns hold. */
export const idLengthMax: number = columnLengths.id;
export const keyLengthMax: number = columnLengths.key;
export const dedupKeyLengthMax: number = columnLengths.dedupKey;
/** Of one message, those of its trace among them. */
export const headersMax = 64;
/** Bytes of all headers of one message as JSON in UTF-8: brokers bear little more. */
export const headersBytesMax = 16_384;
/** A year. */
export const delayMsMax = 31_536_000_000;

/** What a transaction holds back; when it has more, it writes it at once where it may, and refuses it where it may not. */
export const heldMax = { messages: 10_000, bytes: 67_108_864 } as const;
/** What a transaction holds back before it looks whether it may write it now. */
export const heldWished = { messages: 1_000, bytes: 4_194_304 } as const;
/**
 * What one INSERT carries: MySQL takes no statement of more than `max_allowed_packet`, by default 16 to 64 MB, 4 in old
 * ones, and payloads may double by being quoted. A message that is larger has a statement of its own.
 */
export const statementMax = { messages: 500, bytes: 1_048_576 } as const;
