import { functionCaller } from '../caller/function-caller.ts';
import { httpCaller } from '../caller/http-caller.ts';
import { routeCaller } from '../caller/route-caller.ts';
import { ownExchange } from '../client/own-exchange.ts';
import { settleOver, type Settle } from '../client/settle.ts';
import type { Transport } from '../client/transport.ts';
import type { CodeDefinition } from '../define/definition.ts';
import { functionAddress, registryOf } from '../define/functions.ts';
import { createEngine, type Engine } from '../engine/engine.ts';
import type { EngineLimits } from '../engine/limits.ts';
import type { BranchCaller, Observer, Store } from '../engine/ports.ts';
import { allowAddresses, parseAllowRule, type AllowRule } from '../http/allow-addresses.ts';
import type { HttpExchange } from '../http/exchange.ts';
import { parseSecret } from '../wire/signature.ts';
import { changeFeed } from './change-feed.ts';
import { embeddedTransport } from './embedded-transport.ts';
import { systemClock, systemIds, systemRandom } from './production-ports.ts';

export interface OpenOptions {
  /** Where transactions live. The coordinator takes it over: `close()` closes it too, and so does a failed open. */
  readonly store: Store;
  /** The definitions whose functions run in this process. Unfinished transactions of others stay unfinished. */
  readonly definitions?: readonly Pick<CodeDefinition<never, unknown>, 'name' | 'functions'>[];
  /**
   * Which URLs may be called, for transactions made of URLs: rules, or as a configuration writes them
   * (`https://stock.example.com`). Default: this machine (`loopback`).
   */
  readonly allow?: readonly (AllowRule | string)[];
  /** Secrets (`whsec_…`) that calls over HTTP are signed with. Default: none, and they are not signed. */
  readonly secrets?: readonly string[];
  /** How calls over HTTP travel. Default: Node's own http, with connections kept open. */
  readonly exchange?: HttpExchange;
  /** Calls everything but functions, in place of HTTP; then `allow`, `secrets` and `exchange` do not count. */
  readonly caller?: BranchCaller;
  /** Told what happens: for logs and metrics. Must not throw. */
  readonly observe?: Observer;
  readonly limits?: Partial<EngineLimits>;
  /** What this coordinator calls itself in the store. Default `embedded`. */
  readonly coordinator?: string;
  /**
   * Whose transactions the store holds, such as `production`. The first coordinator that opens a store gives it this
   * name for good, and those of other clusters are refused, so that a copy elsewhere is not driven there. Default
   * `settle`.
   */
  readonly cluster?: string;
}

export interface EmbeddedCoordinator extends Settle {
  /** The engine behind the verbs: for serving the HTTP API from this process, and for its readiness and load. */
  readonly engine: Engine;
}

/**
 * Opens a coordinator in this process: the same verbs as `connect`, without a network.
 *
 * Fulfils once it holds its lease on the store; unfinished transactions in it then go on by themselves. Durable is what
 * the store makes durable. Not guaranteed: that they go on while the process is down, and that functions of definitions
 * which were not passed are found. Rejects with `store_locked`, `store_corrupt`, `store_newer`, `cluster_mismatch` or
 * `unavailable` when the store cannot be used, and with `config_invalid` for a rule or secret that cannot be read.
 *
 * ```ts
 * await using coordinator = await openCoordinator({ store: sqliteStore('settle.db'), definitions: [placeOrder] });
 * ```
 */
export async function openCoordinator(options: OpenOptions): Promise<EmbeddedCoordinator> {
  const { store } = options;
  const { exchange, close: closeExchange } = ownExchange(options.exchange);
  const release = (): Promise<unknown> => Promise.all([closeExchange(), store.close()]);
  try {
    const { engine, transport } = assemble(options, exchange, release);
    await engine.start();
    return { ...settleOver(transport, functionAddress), engine };
  } catch (error) {
    const [released] = await Promise.allSettled([release()]);
    if (released.status === 'rejected') {
      const what = 'the coordinator could not be opened, nor its store closed';
      throw new AggregateError([error, released.reason], what, { cause: error });
    }
    throw error;
  }
}

function assemble(
  options: OpenOptions,
  exchange: HttpExchange,
  release: () => Promise<unknown>,
): { readonly engine: Engine; readonly transport: Transport } {
  const { store, observe, limits, coordinator = 'embedded', cluster } = options;
  const changes = changeFeed();
  const engine = createEngine({
    store,
    caller: callerOf(options, exchange),
    clock: systemClock,
    random: systemRandom,
    ids: systemIds,
    observe(event) {
      changes.observe(event);
      observe?.(event);
    },
    coordinator,
    ...(cluster === undefined ? {} : { cluster }),
    ...(limits === undefined ? {} : { limits }),
  });
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    try {
      await engine.stop();
    } finally {
      changes.end('the coordinator is closed');
      await release();
    }
  };
  return { engine, transport: embeddedTransport(engine, changes, () => (closed ??= close())) };
}

function callerOf(options: OpenOptions, exchange: HttpExchange): BranchCaller {
  const functions = functionCaller(registryOf(options.definitions ?? []), { clock: systemClock });
  const others = options.caller ?? urlCaller(options, exchange);
  return routeCaller({ fn: functions, http: others, https: others });
}

function urlCaller(
  { allow = ['loopback'], secrets = [] }: OpenOptions,
  exchange: HttpExchange,
): BranchCaller {
  const rules = allow.map((rule) => (typeof rule === 'string' ? parseAllowRule(rule) : rule));
  const signing = secrets.map(parseSecret);
  return httpCaller({
    exchange,
    whyNotAllowed: allowAddresses(rules),
    now: () => Date.now(),
    secretsOf: () => signing,
  });
}
