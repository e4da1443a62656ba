/** The sender's side: messages that are written if and only if the transaction commits. */
import type { Level } from '../local/level.ts';
import { scopeOf } from '../local/scope.ts';
import type { Transaction } from '../local/transaction.ts';
import type { Transactions } from '../local/transactions.ts';
import { messageOf, SettleError } from '../util/errors.ts';
import { isPromiseLike, type MaybePromise } from '../util/maybe-promise.ts';
import { ulids } from '../util/ulid.ts';
import type { Messages, PayloadOf } from './define-messages.ts';
import { drafting, type Draft, type Drafting, type MessageFields } from './draft.ts';
import { HeldMessages, type WriteDrafts } from './held-messages.ts';
import { payloadBytesMaxDefault } from './limits.ts';
import type { Headers } from './message.ts';
import { Writer } from './writer.ts';

export interface OutboxOptions {
  /**
   * Whether transactions that send with the same key wait for each other before they commit, so that messages of a key are in
   * the order of the commits. Not needed where they lock the same row anyway, such as the order that the messages are about.
   * Costs a round trip, and commits of one key come one at a time. On SQLite it is always so, and free. Default: false.
   */
  readonly serializeKeys?: boolean;
  /** The headers that carry the sender's trace, such as `traceparent`; called for every message. Default: none. */
  readonly trace?: () => Headers | undefined;
  /** Bytes of a payload as JSON. What brokers take is theirs: Kafka and NATS 1 MiB unless configured. Default: 1,048,576. */
  readonly payloadBytesMax?: number;
}

export interface SendManyOptions<Client> {
  /** Of the transaction to send in: what a function was handed. Default: the transaction the calling code runs in. */
  readonly client?: Client | undefined;
  /** What to do where there is no transaction. Default: `transaction_required`. */
  readonly outsideTransaction?: 'begin' | undefined;
}

export interface SendOptions<Client> extends MessageFields, SendManyOptions<Client> {}

/** One message of `sendMany`. */
export type MessageToSend<M extends Messages> = {
  [Type in keyof M & string]: MessageFields & { readonly type: Type; readonly payload: PayloadOf<M, Type> };
}[keyof M & string];

export interface Outbox<Client, M extends Messages> {
  /**
   * Sends a message with the transaction: it is checked now, written right before the COMMIT, and gone with a savepoint that
   * is rolled back. Gives back its id.
   *
   * Guarantees: there is a message if and only if the transaction is committed, and relays publish it at least once. Of one
   * transaction messages are in the order of their sends. When the commit's outcome is unknown (`commit_unknown`), so is the
   * message's, and it is the same.
   *
   * Throws `message_invalid` for what cannot be a message, `transaction_required`, `option_conflict` in a transaction that only
   * reads, `scope_ended`, `foreign_client`, and `limit_exceeded` for more than a transaction holds back; the transaction can
   * go on without it. What the database says of it fails the commit: `tables_missing`, `store_newer`, and its own errors.
   */
  send<Type extends keyof M & string>(
    type: Type,
    payload: PayloadOf<M, Type>,
    options?: SendOptions<Client>,
  ): Promise<string>;
  /** Sends messages, all or none, as `send` does. Gives back their ids, in order. */
  sendMany(
    messages: readonly MessageToSend<M>[],
    options?: SendManyOptions<Client>,
  ): Promise<readonly string[]>;
  /** The same outbox, sending in the transaction that the client belongs to. */
  with(client: Client): Outbox<Client, M>;
  /**
   * Calls a function after each commit that may have brought messages, also one whose outcome is unknown: for relays in this
   * process. Gives back what ends that.
   */
  onCommitted(listener: () => unknown): () => void;
}

/**
 * The outbox of a data source: messages are rows of the transaction's own database, from where relays publish them. Its tables
 * are those of `migrateOutbox(driver)`.
 *
 * Throws `config_invalid` for options that cannot be.
 *
 * ```ts
 * const outbox = createOutbox(tx, messages);
 * await tx.run(async () => {
 *   await tx.db.query('insert into orders (id) values ($1)', ['o-1']);
 *   await outbox.send('order.placed', { id: 'o-1' });
 * });
 * ```
 */
export function createOutbox<Client, M extends Messages>(
  tx: Transactions<Client>,
  messages: M,
  options: OutboxOptions = {},
): Outbox<Client, M> {
  const { serializeKeys = false, trace, payloadBytesMax = payloadBytesMaxDefault } = options;
  if (!Number.isInteger(payloadBytesMax) || payloadBytesMax < 1) {
    throw new SettleError('config_invalid', `payloadBytesMax is ${payloadBytesMax}`, {
      next: 'Give a whole number from 1 on',
    });
  }
  const newId = ulids({ nowMs: Date.now, fill: (bytes) => void crypto.getRandomValues(bytes) });
  const draft = drafting(messages, { payloadBytesMax, newId, trace });
  return outboxOver(new Sender(tx, draft, new Writer(tx.database, serializeKeys)), undefined);
}

function outboxOver<Client, M extends Messages>(
  sender: Sender<Client>,
  bound: Client | undefined,
): Outbox<Client, M> {
  return {
    async send(type, payload, options = {}) {
      const { client = bound, outsideTransaction } = options;
      const [id] = await sender.send([{ ...options, type, payload }], { client, outsideTransaction });
      return id ?? '';
    },
    sendMany: (messages, { client = bound, outsideTransaction } = {}) =>
      sender.send(messages, { client, outsideTransaction }),
    with: (client) => outboxOver(sender, client),
    onCommitted: (listener) => sender.onCommitted(listener),
  };
}

type AnyMessage = MessageFields & { readonly type: string; readonly payload: unknown };

/** The messages of an open transaction, and what is to be done about them around its end. */
interface Holding {
  readonly held: HeldMessages;
  /** Whether a hook before the commit will write what is held. */
  isHooked: boolean;
}

class Sender<Client> {
  readonly #tx: Transactions<Client>;
  readonly #draft: Drafting;
  readonly #writer: Writer;
  /** By the level of the transaction itself. */
  readonly #holdings = new WeakMap<Level, Holding>();
  readonly #listeners = new Set<() => unknown>();

  constructor(tx: Transactions<Client>, draft: Drafting, writer: Writer) {
    this.#tx = tx;
    this.#draft = draft;
    this.#writer = writer;
  }

  // Up to where it first waits, all of it happens in the call: so messages keep the order of the calls.
  async send(messages: readonly AnyMessage[], options: SendManyOptions<Client>): Promise<readonly string[]> {
    const { client, outsideTransaction } = options;
    const t = client === undefined ? this.#tx.current() : this.#tx.of(client);
    if (t === undefined) {
      if (outsideTransaction !== 'begin') throw noTransaction(messages[0]?.type);
      return await this.#tx.run(() => this.send(messages, {}), { label: 'outbox' });
    }
    if (messages.length === 0) return [];
    // Before any schema is asked: what it says later has to reach somebody.
    const level = writableLevelOf(t);
    const { held } = this.#holdingOf(level);
    const drafts = this.#draftsOf(messages);
    const write = this.#writeIn(t);
    if (!isPromiseLike(drafts) && held.hasRoomFor(drafts)) held.add(level, drafts);
    else await held.addLater(level, drafts, write);
    if (held.isMuch) await held.relieve(level, write);
    return (await drafts).map(({ id }) => id);
  }

  onCommitted(listener: () => unknown): () => void {
    // Two of the same function are two.
    const own = (): unknown => listener();
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** All at once, so that none is sent where one is invalid. */
  #draftsOf(messages: readonly AnyMessage[]): readonly Draft[] | Promise<readonly Draft[]> {
    const drafts: MaybePromise<Draft>[] = [];
    try {
      for (const message of messages) drafts.push(this.#draft(message.type, message.payload, message));
    } catch (error) {
      // Those that are still being checked may be invalid, too, which is no news then.
      for (const draft of drafts) if (isPromiseLike(draft)) draft.then(undefined, () => {});
      throw error;
    }
    return drafts.every(isDraft) ? drafts : Promise.all(drafts.map(async (draft) => await draft));
  }

  #holdingOf(level: Level): Holding {
    const root = rootOf(level);
    const holding = this.#holdings.get(root) ?? this.#begin(root);
    if (!holding.isHooked) {
      root.hooks.beforeCommit(() => this.#beforeCommit(holding));
      holding.isHooked = true;
    }
    return holding;
  }

  #begin(root: Level): Holding {
    const holding: Holding = { held: new HeldMessages(), isHooked: false };
    const tell = (): void => {
      if (holding.held.hasWritten) this.#tellCommitted();
    };
    root.hooks.after('committed', tell);
    root.hooks.after('unknown', tell);
    this.#holdings.set(root, holding);
    return holding;
  }

  async #beforeCommit(holding: Holding): Promise<void> {
    // What other hooks send from here on takes a hook of its own.
    holding.isHooked = false;
    const t = this.#tx.required();
    if (scopeOf(t).isDoomed) return;
    await holding.held.writeAll(this.#writeIn(t));
  }

  #writeIn(t: Transaction<Client>): WriteDrafts {
    return (drafts) => this.#writer.write(t, drafts);
  }

  #tellCommitted(): void {
    for (const listener of this.#listeners) {
      try {
        listener();
      } catch (cause) {
        // What is committed must not look as if it were not.
        const what = `a listener of the outbox failed: ${messageOf(cause)}`;
        process.emitWarning(
          new SettleError('hook_failed', what, { cause, next: 'Catch what can fail in it' }),
        );
      }
    }
  }
}

/** Where a statement of the transaction would be part of now, if it may write. */
function writableLevelOf(t: Transaction<unknown>): Level {
  const scope = scopeOf(t);
  const level = scope.levelNow;
  if (!scope.physical.begin.readOnly) return level;
  throw new SettleError('option_conflict', `${t.label} sends a message, but began read-only`, {
    next: 'Send where the transaction may write, or use propagation requiresNew',
  });
}

function rootOf(level: Level): Level {
  return level.parent === undefined ? level : rootOf(level.parent);
}

function isDraft(draft: MaybePromise<Draft>): draft is Draft {
  return !isPromiseLike(draft);
}

function noTransaction(type: string | undefined): SettleError {
  return new SettleError(
    'transaction_required',
    `${type ?? 'a message'} is sent outside of every transaction`,
    {
      next: "Send it inside run(), or with { outsideTransaction: 'begin' } in a transaction of its own",
    },
  );
}
