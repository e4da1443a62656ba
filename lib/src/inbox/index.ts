/** `settle/inbox`: each message takes effect once. Over the transactions of `settle/local`; needs no coordinator. */
export {
  type DeadCause,
  type InboxDeadLetter,
  type InboxDeadLetters,
  type InboxDeadPage,
  type InboxDeadQuery,
  type NewDeadLetter,
} from './dead-letters.ts';
export {
  createInbox,
  redeliveryWindowMsDefault,
  type Inbox,
  type InboxOptions,
  type Once,
  type OnceOptions,
  type PruneOptions,
} from './inbox.ts';
export { resultBytesMax, type KeptResult } from './kept-result.ts';
export { messageIdBytesMax } from './message-key.ts';
export type { Position, Positions } from './positions.ts';
export { inboxMigration, migrateInbox } from './schema.ts';
