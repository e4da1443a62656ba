/** `settle/relay/coordinator`: a message starts a transaction of a coordinator. */
import type { SubmitOptions, TransactionOutcome } from '../../client/index.ts';
import { type ErrorCode, isSettleError, messageOf } from '../../util/errors.ts';
import type { OutgoingMessage, Publisher, PublishResult } from '../publisher.ts';
import { manyAtOnce } from './many-at-once.ts';
import { untilAbort } from './until-abort.ts';

export interface CoordinatorPublisherOptions {
  /** What destinations begin with. Default: `coordinator`. */
  readonly name?: string;
  /** How to start a transaction, by address: `place-order` of `coordinator:place-order`. An address without is `retriable`. */
  readonly starts: Readonly<Record<string, StartTransaction>>;
  /** Submits under way at a time. Default 64. */
  readonly concurrency?: number;
}

/**
 * Starts the transaction of a message, the same one each time it is asked: hands `options` on to a verb of the client, which
 * takes the id of the message for its gid, and does not wait for the end.
 */
export type StartTransaction = (
  message: OutgoingMessage,
  options: Required<Pick<SubmitOptions, 'gid' | 'waitMs' | 'signal'>>,
) => Promise<Pick<TransactionOutcome, 'gid'>>;

/**
 * Publishes a message by starting a transaction with its id for a gid: a saga, TCC or message, whatever the function submits.
 *
 * Published is what the coordinator has accepted, durably; a repeat finds the transaction that is there, so each message
 * starts one, however often it is published. Transactions of one key start in order, and then run side by side.
 * Ids have to be gids: 1 to 128 characters of `A-Z a-z 0-9 _ - : ~`, as those that the outbox makes.
 *
 * ```ts
 * const settle = connect('http://127.0.0.1:36789');
 * const coordinator = coordinatorPublisher({
 *   starts: { 'place-order': ({ payload }, options) => settle.run(placeOrder, JSON.parse(payload), options) },
 * });
 * ```
 */
export function coordinatorPublisher(options: CoordinatorPublisherOptions): Publisher {
  const { name = 'coordinator', starts, concurrency = 64 } = options;

  async function start(message: OutgoingMessage, signal: AbortSignal): Promise<PublishResult> {
    const { address, id } = message;
    const begin = Object.hasOwn(starts, address) ? starts[address] : undefined;
    if (begin === undefined) return { kind: 'retriable', reason: `nothing is started by ${address} here` };
    const { gid } = await begin(message, { gid: id, waitMs: 0, signal });
    if (gid === id) return { kind: 'published', ref: gid };
    // The next attempt would start one more.
    return { kind: 'poison', reason: `it started ${gid}, not a transaction with the gid it was given` };
  }

  return {
    name,
    order: 'each-alone',
    publish: (batch, signal) =>
      manyAtOnce(batch, concurrency, async (message) => {
        if (signal.aborted)
          return { kind: 'unavailable', reason: 'publishing was stopped before it was sent' };
        try {
          return await untilAbort(start(message, signal), signal, tooLate);
        } catch (error) {
          return resultOf(error);
        }
      }),
  };
}

const tooLate: PublishResult = { kind: 'unknown', reason: 'the coordinator did not answer in time' };

function resultOf(error: unknown): PublishResult {
  const reason = messageOf(error);
  if (!isSettleError(error)) return { kind: 'retriable', reason };
  if (unavailableCodes.has(error.code)) {
    const { retryAfterMs } = error;
    return { kind: 'unavailable', reason, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  }
  return { kind: poisonCodes.has(error.code) ? 'poison' : 'retriable', reason };
}

/** The coordinator takes nothing, or nothing from us. */
const unavailableCodes: ReadonlySet<ErrorCode> = new Set([
  'unavailable',
  'overloaded',
  'shutting_down',
  'lease_lost',
  'unauthenticated',
  'host_not_allowed',
]);

/** No change of what is around it makes it fit. */
const poisonCodes: ReadonlySet<ErrorCode> = new Set(['gid_conflict', 'body_too_large']);
