/** `settle/consumer`: what is done about messages, whatever broker they come from. Consumers of brokers: `settle/consumer/<broker>`. */
export {
  createConsumer,
  type Consumer,
  type ConsumerInbox,
  type ConsumerOptions,
  type ConsumerRetryOptions,
  type Replayed,
  type ReplayQuery,
} from './consumer.ts';
export type { ConsumerEvent } from './events.ts';
export type { Handler, HandlerContext, Handlers } from './handlers.ts';
export type { Handled, HandleMessage, IncomingMessage, RunningConsumer } from './incoming.ts';
export { KeyedQueue, type KeyedQueueOptions, type Undone } from './keyed-queue.ts';
export { readEnvelope } from './read-envelope.ts';
export { Ongoing, Refused } from '../define/answers.ts';
