import { planMessage, type MessageDefinition, type MessageTargetDefinition } from '../core/message-plan.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import { SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';
import { toStored } from '../define/stored.ts';
import type { LocalTransactions, LocalValue, Sent, SendWithTransaction } from './local-transaction.ts';
import type { TransactionOutcome } from './outcome.ts';
import type { SubmitOptions } from './settle.ts';

export interface MessageUrlOptions {
  /**
   * The URL asked, should we never say so ourselves, whether the local transaction of `withLocalTransaction` committed:
   * a participant's handler over the barrier of the same database.
   */
  readonly check?: string;
  /** Milliseconds from prepare until the first question. Default 10,000. */
  readonly checkAfterMs?: number;
  /** Milliseconds between the decision to deliver and the first delivery. Default 0. */
  readonly delayMs?: number;
  /** Default: all targets at once. */
  readonly order?: 'parallel' | 'sequence';
  /** Milliseconds one call may take. Default: the coordinator's. */
  readonly callTimeoutMs?: number;
}

export interface MessageTarget {
  /** The http(s) URL it is delivered to. */
  readonly deliver: string;
  readonly payload?: Json;
  readonly retry?: RetryPolicy;
}

/** A message that can be sent: at once, or if and only if a local transaction commits. */
export interface Sendable<Results = Readonly<Record<string, Json>>> {
  /** Delivers it. Fulfils once that is durable, and every target has it or `waitMs` are over (default 0). */
  submit(options?: SubmitOptions): Promise<TransactionOutcome<Results>>;
  /**
   * Runs `work` in a local transaction and delivers the message if and only if that commits: prepare, then work and a
   * barrier row in one local transaction, then submit. If we die in between, the check-back finds the row, or not.
   *
   * Fulfils once the local transaction has committed; delivery may then still be `pending`, it is never lost.
   * Rejects with what `work` threw after its transaction rolled back (and, if dropping the message failed too, with an
   * AggregateError of both); with what the local transaction threw when its outcome is not known: then the check-back
   * decides. It does not run `work` again when the gid is used again; it gives the first result.
   */
  withLocalTransaction<Tx, Value extends LocalValue>(
    transactions: LocalTransactions<Tx>,
    work: (tx: Tx) => Value | Promise<Value>,
    options?: SubmitOptions,
  ): Promise<Sent<Value, Results>>;
}

/** A message to URLs, any language behind them. Immutable: each `to` gives a new one. */
export interface MessageBuilder extends Sendable {
  to(name: string, target: MessageTarget): MessageBuilder;
}

export interface MessageVerbs {
  submit(definition: MessageDefinition, options: SubmitOptions | undefined): Promise<TransactionOutcome>;
  sendWithTransaction: SendWithTransaction;
}

export function messageBuilder(
  name: string,
  options: MessageUrlOptions,
  verbs: MessageVerbs,
  targets: readonly MessageTargetDefinition[] = [],
): MessageBuilder {
  const { check, ...rest } = options;
  const definition = (): MessageDefinition => {
    const message = { name, ...rest, targets };
    planMessage(message);
    return message;
  };
  return {
    to(targetName, { deliver, payload, ...policy }) {
      const call =
        payload === undefined
          ? { address: deliver }
          : { address: deliver, payload: toStored(payload, 'a payload') };
      return messageBuilder(name, options, verbs, [
        ...targets,
        { name: targetName, ...policy, deliver: call },
      ]);
    },
    submit: async (submitOptions) => verbs.submit(definition(), submitOptions),
    async withLocalTransaction(transactions, work, submitOptions) {
      if (check === undefined) throw noCheck(name);
      const prepared = { ...definition(), check: { address: check } };
      return verbs.sendWithTransaction(prepared, transactions, work, submitOptions);
    },
  };
}

export function noCheck(name: string): SettleError {
  return new SettleError('invalid_definition', `the message ${name} has no check-back`, {
    next: 'Give it a `check`: without it nobody could say whether the local transaction committed',
  });
}
