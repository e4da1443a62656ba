/** `settle dev`: orders settle across three services while things go wrong; at the end their databases are checked. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connect, type Settle } from 'settle';
import { statuses } from 'settle/core';
import { createChaos, type Chaos, type Victim } from '../demo/chaos.ts';
import { checkConservation } from '../demo/check.ts';
import { databaseNames } from '../demo/databases/kinds.ts';
import { openRunDatabases, type RunDatabases } from '../demo/databases/run-databases.ts';
import { startCoordinator, type DemoCoordinator } from '../demo/demo-coordinator.ts';
import { startServices, type DemoServices } from '../demo/demo-services.ts';
import { showLive } from '../demo/live-table.ts';
import type { Screen } from '../demo/live-view.ts';
import { describeOutboxReport, type OutboxReport } from '../demo/outbox/report.ts';
import { runOutbox } from '../demo/outbox/run.ts';
import { outboxDefects } from '../demo/outbox/settings.ts';
import { describeReport, type DemoReport } from '../demo/report.ts';
import { openShop, type Shop } from '../demo/shop.ts';
import type { Defect } from '../demo/services/settings.ts';
import { serviceNames, type ServiceName } from '../demo/service-names.ts';
import { addCounts, createTally, settledOf, type Tally } from '../demo/tally.ts';
import { surprises } from '../demo/surprises.ts';
import { createWorld, type World } from '../demo/world.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { stopSignal } from '../shutdown.ts';
import { readDevOptions, type DevOptions } from './dev-options.ts';

/** Milliseconds after which the demo's coordinator gives up a call: short, so that lost answers do not slow it down. */
const callTimeoutMs = 500;
/** An endless run has a world for so many orders; after that much is sold out. */
const endlessOrders = 100_000;

export async function devCommand(argv: readonly string[]): Promise<ExitCode> {
  const options = readDevOptions(argv);
  const seed = options.seed === 0 ? 1 + Math.floor(Math.random() * (2 ** 31 - 1)) : options.seed;
  const dir = options.dir === '' ? mkdtempSync(join(tmpdir(), 'settle-dev-')) : resolve(options.dir);
  mkdirSync(dir, { recursive: true });
  const { report, text } = await watch(options, seed, dir);
  process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : text}\n`);
  if (report.ok && options.dir === '') rmSync(dir, { recursive: true, force: true });
  return report.ok ? exitCodes.done : exitCodes.broken;
}

async function watch(
  options: DevOptions,
  seed: number,
  dir: string,
): Promise<{ readonly report: DemoReport | OutboxReport; readonly text: string }> {
  if (options.demo === 'orders') {
    const report = await run(options, seed, dir);
    return { report, text: describeReport(report) };
  }
  const { faults, orders, settleMs } = options;
  const report = await runOutbox({
    dir,
    seed,
    orders: orders === 0 ? undefined : orders,
    faults,
    settleMs,
    defect: outboxDefects.find((defect) => defect === options.plant),
    screen: screenOf(options),
  });
  return { report, text: describeOutboxReport(report) };
}

/** Of JSON nothing but the report goes to stdout. */
function screenOf({ json }: DevOptions): Screen {
  return json ? process.stderr : process.stdout;
}

async function run(options: DevOptions, seed: number, dir: string): Promise<DemoReport> {
  const signal = stopSignal();
  const surprise = surprises();
  const tally = createTally();
  const world = worldIn(dir, seed, options.orders === 0 ? endlessOrders : options.orders);
  await using databases = await openDatabases(options, dir, world, surprise.report);
  await using stage = await setStage({ options, seed, dir, tally, databases, onSurprise: surprise.report });
  const { services, settle } = stage;
  const orders = options.orders === 0 ? undefined : options.orders;
  announce(options, seed, stage, databases);

  const chaos = createChaos({
    seed,
    orders,
    services: options.faults,
    coordinator: options.killCoordinator,
    connections: options.faults ? databases.onServers : [],
    kill: (victim) => kill(victim, stage, databases, tally),
  });
  let phase = 'placing orders';
  const started = performance.now();
  const live = showLive(screenOf(options), {
    tally,
    orders,
    phase: () => phase,
  });
  const shop = openShop({
    settle,
    urls: services.urls,
    world,
    seed,
    run: runName(),
    orders,
    concurrency: options.concurrency,
    tally,
    before: (sequence) => chaos.before(sequence),
  });
  void signal.asked.then(() => shop.stop());
  void shop.taken.then(() => (phase = 'settling'));
  try {
    const unsettled = await Promise.race([surprise.raised, settled(shop, chaos, settle, options.settleMs)]);
    const seconds = (performance.now() - started) / 1_000;
    phase = 'checking';
    live.stop();
    await stage.stop();
    await databases.copyToFiles();
    const check = checkConservation(dir, shop.told());
    const ok = check.holds && unsettled === 0 && shop.lost.length === 0;
    const ordersPerSecond = settledOf(tally) / seconds;
    const { kinds } = databases;
    return {
      ok,
      seed,
      seconds,
      ordersPerSecond,
      tally,
      unsettled,
      lost: shop.lost,
      check,
      databases: kinds,
      dir,
    };
  } finally {
    shop.giveUp();
    live.stop();
    signal.release();
  }
}

async function kill(
  victim: Victim,
  { coordinator, services }: Stage,
  databases: RunDatabases,
  tally: Tally,
): Promise<void> {
  switch (victim.kind) {
    case 'coordinator':
      tally.coordinatorKills++;
      return coordinator.killAndRestart();
    case 'service':
      tally.restarts[victim.service]++;
      return services.killAndRestart(victim.service);
    case 'connections':
      tally.connectionsCut += await databases.cutConnections(victim.service);
  }
}

/** Waits, a bounded time, until nothing is under way any more; gives back how much still is. */
async function settled(shop: Shop, chaos: Chaos, settle: Settle, settleMs: number): Promise<number> {
  await shop.taken;
  const deadline = performance.now() + settleMs;
  const timer = setTimeout(() => shop.giveUp(), settleMs);
  try {
    await shop.closed;
    await chaos.settled();
    for (;;) {
      const open = await unfinished(settle);
      if (open === 0 || performance.now() > deadline) return open;
      await pause(100);
    }
  } finally {
    clearTimeout(timer);
  }
}

const unfinishedStatuses = statuses.filter((s) => s !== 'committed' && s !== 'aborted' && s !== 'forgotten');

async function unfinished(settle: Settle): Promise<number> {
  let count = 0;
  for await (const _ of settle.list({ status: unfinishedStatuses })) count++;
  return count;
}

async function openDatabases(
  options: DevOptions,
  dir: string,
  world: World,
  onSurprise: (error: Error) => void,
): Promise<RunDatabases> {
  const temporary = options.dir === '';
  try {
    return await openRunDatabases({ dir, temporary, choice: options.databases, world, onSurprise });
  } catch (error) {
    // What is wrong stands in the message; there is nothing in the folder yet.
    if (temporary) rmSync(dir, { recursive: true, force: true });
    throw error;
  }
}

interface Stage extends AsyncDisposable {
  readonly coordinator: DemoCoordinator;
  readonly services: DemoServices;
  readonly settle: Settle;
  stop(): Promise<void>;
}

interface StageOptions {
  readonly options: DevOptions;
  readonly seed: number;
  readonly dir: string;
  readonly tally: Tally;
  readonly databases: RunDatabases;
  readonly onSurprise: (error: Error) => void;
}

/** Starts the coordinator, then the services, which need its address. */
async function setStage({ options, seed, dir, tally, databases, onSurprise }: StageOptions): Promise<Stage> {
  const { port, killCoordinator: ownProcess, faults } = options;
  const coordinator = await startCoordinator({ dir, port, callTimeoutMs, ownProcess, onSurprise });
  try {
    const services = await startServices({
      databases: databases.places,
      seed,
      faults,
      coordinatorUrl: coordinator.url,
      callTimeoutMs,
      plant: plantOf(options.plant),
      onCounts: (counts) => addCounts(tally, counts),
      onSurprise,
    });
    const settle = connect(coordinator.url);
    let stopped: Promise<void> | undefined;
    const stopAll = async (): Promise<void> => {
      await settle.close();
      await coordinator.stop();
      await services.stop();
    };
    const stop = (): Promise<void> => (stopped ??= stopAll());
    return { coordinator, services, settle, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await coordinator.stop();
    throw error;
  }
}

/** The world of a folder stays the one it began with. */
function worldIn(dir: string, seed: number, orders: number): World {
  const file = join(dir, 'world.json');
  if (!existsSync(file)) writeFileSync(file, JSON.stringify({ seed, orders }));
  // Written by this very function.
  const begun = JSON.parse(readFileSync(file, 'utf8')) as { readonly seed: number; readonly orders: number };
  return createWorld(begun.seed, begun.orders);
}

function plantOf(text: string): { readonly service: ServiceName; readonly defect: Defect } | undefined {
  if (text === '') return undefined;
  const [service, defect] = text.split(':');
  // The option only takes such pairs.
  return { service: service as ServiceName, defect: defect as Defect };
}

function announce(
  options: DevOptions,
  seed: number,
  { coordinator, services }: Stage,
  { kinds }: RunDatabases,
): void {
  const each = serviceNames.map(
    (service) => `${service} ${services.urls[service]} (${databaseNames[kinds[service]]})`,
  );
  screenOf(options).write(
    `coordinator ${coordinator.url}  ${each.join('  ')}  seed ${seed}\n` +
      `${options.orders === 0 ? 'placing orders until Ctrl-C' : `placing ${options.orders} orders`}${options.faults ? ', with faults' : ''}\n\n`,
  );
}

/** Begins every gid; sorts by time. */
function runName(): string {
  return `order-${Date.now().toString(36)}`;
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => {
    setTimeout(done, ms);
  });
}
