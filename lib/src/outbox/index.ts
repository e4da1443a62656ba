/** `settle/outbox`: messages that exist if and only if the transaction committed. Needs `settle/local`, and no coordinator. */
export {
  defineMessages,
  message,
  type CheckedPayloadOf,
  type DefinedMessages,
  type Destination,
  type MessageOptions,
  type Messages,
  type MessageType,
  type PayloadOf,
} from './define-messages.ts';
export type { MessageFields } from './draft.ts';
export {
  dedupKeyLengthMax,
  delayMsMax,
  headersBytesMax,
  headersMax,
  heldMax,
  idLengthMax,
  keyLengthMax,
  payloadBytesMaxDefault,
} from './limits.ts';
export type { Headers, StoredMessage } from './message.ts';
export {
  createOutbox,
  type MessageToSend,
  type Outbox,
  type OutboxOptions,
  type SendManyOptions,
  type SendOptions,
} from './outbox.ts';
export { migrateOutbox, outboxMigration } from './schema/index.ts';
