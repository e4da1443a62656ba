/** The verbs: what an application asks of a coordinator, the same over HTTP and in the same process. */
import type {
  ActionRequest,
  SubmitOutcome,
  TransactionPage,
  TransactionQuery,
  TransactionSummary,
  WaitOptions,
} from '../core/coordinator.ts';
import { parseGid, type Gid } from '../core/ids.ts';
import type { Definition, TransactionView } from '../core/patterns.ts';
import type { CodeDefinition } from '../define/definition.ts';
import { servedAt, type AddressOf } from '../define/functions.ts';
import { checkAddress, type Message } from '../define/message.ts';
import { SettleError } from '../util/errors.ts';
import { ulids } from '../util/ulid.ts';
import type { TransactionChange } from '../wire/transaction.ts';
import { sendWithTransaction, type SendWithTransaction } from './local-transaction.ts';
import {
  messageBuilder,
  noCheck,
  type MessageBuilder,
  type MessageUrlOptions,
  type Sendable,
} from './message-builder.ts';
import { outcomeOf, type TransactionOutcome } from './outcome.ts';
import { sagaBuilder, type SagaBuilder, type SagaUrlOptions } from './saga-builder.ts';
import { runTcc, type TccSession, type TccUrlOptions } from './tcc-session.ts';
import type { ChangeQuery, Transport } from './transport.ts';
import { waitForEnd } from './wait.ts';

export interface SubmitOptions {
  /** Makes the submit idempotent: 1 to 128 characters of `A-Z a-z 0-9 _ - : ~`. Default: a new one. */
  readonly gid?: string;
  /** Milliseconds to wait for the end before answering `pending`. */
  readonly waitMs?: number;
  /** Aborting stops the waiting, not the transaction. */
  readonly signal?: AbortSignal;
}

export interface RunOptions extends SubmitOptions {
  /** Milliseconds to wait for the end before answering `pending`. Default 30,000. */
  readonly waitMs?: number;
  /** The base URL under which the definition's functions are served. Default: that of `connect`. */
  readonly servedAt?: string;
}

export const runWaitDefaultMs = 30_000;

/**
 * A coordinator, wherever it runs. Every gid is made before anything is sent, and lost answers are asked for again with
 * it, so each call is one transaction, however often it goes over the network. All methods throw `SettleError`.
 */
export interface Settle {
  /**
   * Runs a definition as code and waits for its end. Throws `invalid_request` when the input is not what the
   * definition's schema wants, `gid_conflict` when the gid stands for another transaction, `unavailable` when no answer
   * came in time: whether it was accepted is then not known, and running it again with the same gid is harmless.
   */
  run<Input, Results>(
    definition: CodeDefinition<Input, Results>,
    input: Input,
    options?: RunOptions,
  ): Promise<TransactionOutcome<Results>>;
  /** Starts building a saga of URLs. */
  saga(name: string, options?: SagaUrlOptions): SagaBuilder;
  /**
   * A TCC transaction of URLs, tried by the callback: when it returns all branches are confirmed, when it throws all
   * that may have been tried are cancelled. A `Refused` that leaves the callback becomes the outcome `aborted`; any
   * other error is thrown on after the abort, in an AggregateError when the abort failed too.
   */
  tcc(
    name: string,
    callback: (tx: TccSession) => Promise<void> | void,
    options?: TccUrlOptions,
  ): Promise<TransactionOutcome>;
  /** Starts building a message to URLs. */
  message(name: string, options?: MessageUrlOptions): MessageBuilder;
  /**
   * A message defined as code, ready to be sent with a local transaction (or at once, as `run` does).
   * Sending throws `invalid_request` when the input is not what the definition's schema wants.
   */
  send<Input, StoredInput, Results extends object>(
    definition: Message<Input, StoredInput, Results>,
    input: Input,
    options?: Pick<RunOptions, 'servedAt'>,
  ): Sendable<Results>;
  /** Submits a bare definition; the builders and `run` end here. `waitMs` defaults to 0. */
  submit(definition: Definition, options?: SubmitOptions): Promise<TransactionOutcome>;
  /** Submits several, durable together; each has its own outcome, in order. At most 100. */
  submitMany(
    requests: readonly { readonly gid?: string; readonly definition: Definition }[],
  ): Promise<readonly SubmitOutcome[]>;
  /** One transaction with its history, at once or (`waitMs`) when it has ended. Throws `transaction_not_found`. */
  get(gid: string, options?: WaitOptions): Promise<TransactionView>;
  /** All that match, newest first, page by page as they are read. */
  list(query?: Omit<TransactionQuery, 'cursor'>): AsyncIterable<TransactionSummary>;
  /** One page. */
  page(query?: TransactionQuery): Promise<TransactionPage>;
  /** Asks for undoing; throws `illegal_action` once the decision to commit has fallen. Repeating it is harmless. */
  abort(gid: string, reason: string, options?: WaitOptions): Promise<TransactionView>;
  /** An operator's action. Throws `illegal_action` where the legal table says so. */
  act(
    gid: string,
    request: Omit<ActionRequest, 'actor'> & { readonly actor?: string },
    options?: WaitOptions,
  ): Promise<TransactionView>;
  /**
   * The changes of status from now on, until the signal aborts or the loop is left. Throws `unavailable` when some may
   * have been missed: list, then follow again.
   */
  events(query?: ChangeQuery, options?: { readonly signal?: AbortSignal }): AsyncIterable<TransactionChange>;
  /** Closes connections; an embedded coordinator stops. Transactions go on elsewhere, or after the next start. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Makes gids: 128 bits, sortable by the time they were made. */
export function newGid(): Gid {
  return parseGid(nextUlid());
}

const nextUlid = ulids({
  nowMs: () => Date.now(),
  fill: (bytes) => globalThis.crypto.getRandomValues(bytes),
});

/** The verbs over a transport. `addressOf`: where definitions as code are served when a call does not say so. */
export function settleOver(transport: Transport, addressOf: AddressOf | undefined): Settle {
  const bases = new Map<string, AddressOf>();

  function addresses(definition: string, base: string | undefined): AddressOf {
    if (base === undefined) {
      if (addressOf !== undefined) return addressOf;
      throw new SettleError('invalid_definition', `nobody knows where ${definition} is served`, {
        next: 'Pass `servedAt`, the base URL of a participant whose handler serves it, to connect() or run()',
      });
    }
    // The same function for the same base, by which a definition remembers what it compiled.
    let known = bases.get(base);
    if (known === undefined) bases.set(base, (known = servedAt(base)));
    return known;
  }

  async function submit<Results>(
    definition: Definition,
    { gid, waitMs = 0, signal }: SubmitOptions = {},
  ): Promise<TransactionOutcome<Results>> {
    const request = { gid: gidOf(gid), definition };
    const view = await waitForEnd(
      transport,
      (options) => transport.submit({ ...request, ...options }),
      signal === undefined ? { waitMs } : { waitMs, signal },
    );
    return outcomeOf(view);
  }

  const sendWith: SendWithTransaction = (definition, transactions, work, options = {}) =>
    sendWithTransaction(transport, gidOf(options.gid), definition, transactions, work, options);

  return {
    async run<Input, Results>(
      definition: CodeDefinition<Input, Results>,
      input: Input,
      { servedAt: base, waitMs = runWaitDefaultMs, ...options }: RunOptions = {},
    ): Promise<TransactionOutcome<Results>> {
      const at = addresses(definition.name, base);
      const compiled = definition.compile(await definition.parse(input), at);
      return submit<Results>(compiled, { ...options, waitMs });
    },
    saga: (name, options = {}) => sagaBuilder(name, options, submit),
    tcc: (name, callback, { gid, waitMs = runWaitDefaultMs, ...options } = {}) =>
      runTcc(transport, gidOf(gid), name, callback, { ...options, waitMs }),
    message: (name, options = {}) =>
      messageBuilder(name, options, {
        submit: (definition, submitOptions) => submit({ pattern: 'message', ...definition }, submitOptions),
        sendWithTransaction: sendWith,
      }),
    send(definition, input, { servedAt: base } = {}) {
      const at = addresses(definition.name, base);
      const compiled = async (): Promise<Definition & { readonly pattern: 'message' }> =>
        definition.compile(await definition.parse(input), at);
      return {
        submit: async (options) => submit(await compiled(), options),
        async withLocalTransaction(transactions, work, options) {
          if (!definition.checked) throw noCheck(definition.name);
          const prepared = { ...(await compiled()), check: { address: checkAddress(definition.name, at) } };
          return sendWith(prepared, transactions, work, options);
        },
      };
    },
    submit,
    submitMany: (requests) =>
      transport.submitMany(requests.map(({ gid, definition }) => ({ gid: gidOf(gid), definition }))),
    get: (gid, options = {}) => waitForEnd(transport, (wait) => transport.get(parseGid(gid), wait), options),
    page: (query = {}) => transport.list(query),
    async *list(query = {}) {
      let cursor: string | undefined;
      do {
        const page: TransactionPage = await transport.list(
          cursor === undefined ? query : { ...query, cursor },
        );
        yield* page.items;
        cursor = page.next;
      } while (cursor !== undefined);
    },
    abort: (gid, reason, options) =>
      transport.act(parseGid(gid), { action: 'abort', reason, actor: 'client' }, options),
    act: (gid, request, options) => transport.act(parseGid(gid), { actor: 'client', ...request }, options),
    events: (query = {}, { signal } = {}) => transport.follow(query, signal),
    close: () => transport.close(),
    [Symbol.asyncDispose]: () => transport.close(),
  };
}

function gidOf(gid: string | undefined): Gid {
  return gid === undefined ? newGid() : parseGid(gid);
}
