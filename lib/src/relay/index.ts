/** `settle/relay`: takes messages out of the outbox and to their brokers. Publishers are in `settle/relay/<broker>`. */
export { laneCount } from '../outbox/message.ts';
export { relaySystemClock, type RelayClock } from './clock.ts';
export type { RelayEvent, RelayWarning } from './events.ts';
export { memoryOutbox, type MemoryOutbox, type NewMessage } from './memory-store.ts';
export {
  relayLimitsDefault,
  relayRetryDefault,
  type Ordering,
  type RelayLimits,
  type RelayOptions,
  type RelayRetry,
} from './options.ts';
export { sqlRelayStore } from './sql-store/index.ts';
export type { OutgoingMessage, Publisher, PublishResult } from './publisher.ts';
export { createRelay, type Relay, type RelayCount } from './relay.ts';
export type {
  BlockedKey,
  ClaimedLane,
  DeadCause,
  DeadLetter,
  DeadLetterQuery,
  DeadLetters,
  DeadMessage,
  FailedMessage,
  LaneToken,
  LaneView,
  OutboxStats,
  Promotion,
  ReadRequest,
  RelayStore,
  Settlement,
} from './store.ts';
export type { Wake, WakeContext, WakeSource } from './wake.ts';
