/** The options of `settle dev`. */
import { SettleError } from 'settle/core';
import {
  choiceOption,
  integerOption,
  listOption,
  switchOption,
  textOption,
  type Option,
} from '../config-option.ts';
import {
  chosenDatabases,
  parseDatabaseItem,
  type DatabaseChoice,
  type DatabaseItem,
} from '../demo/databases/choice.ts';
import { outboxDefects } from '../demo/outbox/settings.ts';
import { flagOf, readFlags, valueOf } from '../flags.ts';

export type Demo = 'orders' | 'outbox';

export interface DevOptions {
  readonly demo: Demo;
  readonly once: boolean;
  /** 0: until Ctrl-C. */
  readonly orders: number;
  /** 0: drawn by chance, and printed. */
  readonly seed: number;
  readonly concurrency: number;
  readonly faults: boolean;
  readonly killCoordinator: boolean;
  /** Empty: a temporary one, removed after a run in which everything held. */
  readonly dir: string;
  readonly databases: DatabaseChoice;
  /** The first port that is tried. */
  readonly port: number;
  readonly settleMs: number;
  readonly json: boolean;
  readonly plant: string;
}

export const onceOrders: Readonly<Record<Demo, number>> = { orders: 2_000, outbox: 500 };

/** As given; what fits together is looked at last. */
type GivenOptions = Omit<DevOptions, 'databases'> & { readonly databases: readonly DatabaseItem[] };

const devOptions: { readonly [Name in keyof GivenOptions]: Option<GivenOptions[Name]> } = {
  demo: choiceOption({
    choices: ['orders', 'outbox'],
    default: 'orders',
    doc: 'What to watch: orders that a coordinator settles across three services, or an outbox, whose messages a relay takes to a consumer, and no coordinator.',
  }),
  once: switchOption({
    default: false,
    doc: `End after --orders orders (${onceOrders.orders}, with --demo outbox ${onceOrders.outbox}, unless given) instead of running until Ctrl-C.`,
  }),
  orders: integerOption({
    default: 0,
    min: 0,
    max: 10_000_000,
    doc: 'How many orders to place; 0 for no end.',
  }),
  seed: integerOption({
    default: 0,
    min: 0,
    max: 2 ** 31 - 1,
    doc: 'The same seed gives the same orders and the same faults; 0 draws one and prints it.',
  }),
  concurrency: integerOption({ default: 64, min: 1, max: 1_000, doc: 'Orders under way at a time.' }),
  faults: switchOption({
    default: true,
    doc: 'Inject refusals, lost answers, duplicates, 503s, and kills of services, with --demo outbox of writer, relay and consumer; --faults=false for none.',
  }),
  killCoordinator: switchOption({
    default: false,
    doc: 'Run the coordinator as a process of its own, and kill it (SIGKILL) several times during the run.',
  }),
  dir: textOption({
    default: '',
    hint: 'folder',
    doc: 'Where the databases are; a second run goes on with them. Without it a temporary folder, removed after a run in which everything held.',
  }),
  databases: listOption({
    default: [],
    hint: 'list',
    doc: 'What orders, stock and wallet keep their data in: sqlite, postgres or mariadb each, begun again when fewer are named. Servers are started for the run, or given: postgres=postgres://user:password@host:5432, mariadb=mysql://… Without it sqlite for all.',
    item: parseDatabaseItem,
  }),
  port: integerOption({
    default: 36_789,
    min: 0,
    max: 65_535,
    doc: 'Port of the API on loopback, or the next free one.',
  }),
  settleMs: integerOption({
    default: 60_000,
    min: 100,
    max: 3_600_000,
    doc: 'Milliseconds to wait at the end until everything has settled.',
  }),
  json: switchOption({ default: false, doc: 'Print the final report as JSON; progress goes to stderr.' }),
  // Not shown: proof that the check can fail.
  plant: choiceOption({
    choices: [
      '',
      ...['orders', 'stock', 'wallet'].flatMap((s) => [`${s}:skip-barrier`, `${s}:drop-undo`]),
      ...outboxDefects,
    ],
    default: '',
    doc: 'Plant a defect in a service, to see the check find it.',
  }),
};

/** What there is none of without a coordinator and its services. */
const ordersOnly = ['concurrency', 'killCoordinator', 'databases', 'port'] as const;

const { plant: _, ...shown } = devOptions;
export const shownDevOptions: Readonly<Record<string, Option<unknown>>> = shown;

/** Throws `config_invalid` that names the flag. */
export function readDevOptions(argv: readonly string[]): DevOptions {
  const flags = readFlags(argv, devOptions, 'settle dev --help');
  const value = <Name extends keyof GivenOptions>(name: Name): GivenOptions[Name] => {
    const text = flags.get(name);
    const option = devOptions[name];
    return text === undefined ? option.default : valueOf(option.parse(text), `--${flagOf(name)}`);
  };
  const demo = value('demo');
  const once = value('once');
  const orders = value('orders');
  const stray = demo === 'outbox' ? ordersOnly.find((name) => flags.has(name)) : undefined;
  if (stray !== undefined) {
    throw new SettleError('config_invalid', `--${flagOf(stray)} is not an option of --demo outbox`, {
      next: 'Leave it out',
    });
  }
  return {
    demo,
    once,
    orders: once && orders === 0 ? onceOrders[demo] : orders,
    seed: value('seed'),
    concurrency: value('concurrency'),
    faults: value('faults'),
    killCoordinator: value('killCoordinator'),
    dir: value('dir'),
    databases: chosenDatabases(value('databases')),
    port: value('port'),
    settleMs: value('settleMs'),
    json: value('json'),
    plant: value('plant'),
  };
}
