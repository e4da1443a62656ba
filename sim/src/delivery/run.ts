/**
 * One seed of messages, from the transactions that send them to their effects at a group of consumers: the real relay over
 * the memory outbox, the real consumer, queue and progress, in processes that die and hang, over a store and a broker whose
 * answers get lost. First everything goes wrong, then nothing does; then all has to be through.
 */
import { commitsWithinMs } from '../../../lib/src/relay/lane.ts';
import { memoryOutbox } from '../../../lib/src/relay/memory-store.ts';
import { createRelay } from '../../../lib/src/relay/relay.ts';
import type { RelayStore, Settlement } from '../../../lib/src/relay/store.ts';
import { forbidGlobals } from '../guard.ts';
import { Process } from '../world/process.ts';
import { stream, type Rng } from '../world/random.ts';
import { Schedule } from '../world/schedule.ts';
import { TraceHash } from '../world/trace-hash.ts';
import { Broker } from './broker.ts';
import { startConsumer } from './consumer-process.ts';
import { deliveryViolations, type DeliveryViolation } from './facts.ts';
import type { DeliveryHistory, Written } from './history.ts';
import { ConsumerDatabase } from './inbox.ts';
import {
  calmDelivery,
  drawShape,
  drawWeather,
  type DeliveryFaults,
  type DeliveryWeather,
  type RelayShape,
} from './weather.ts';

export interface DeliveryResult {
  readonly seed: number;
  readonly history: DeliveryHistory;
  readonly violations: readonly DeliveryViolation[];
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
}

const safetyMs = 20_000;
const livenessMs = 180_000;
const leaseTtlMs = 4_000;
const storeEpochMs = 1_700_000_000_000;

export async function runDelivery(seed: number): Promise<DeliveryResult> {
  const allow = forbidGlobals();
  try {
    return await new DeliveryWorld(seed).run();
  } finally {
    allow();
  }
}

class DeliveryWorld {
  readonly #seed: number;
  readonly #hash = new TraceHash();
  readonly #schedule = new Schedule(this.#hash);
  readonly #weather: DeliveryWeather;
  readonly #faults: DeliveryFaults;
  readonly #shape: RelayShape;
  readonly #outbox = memoryOutbox(() => storeEpochMs + this.#schedule.now);
  readonly #broker: Broker;
  readonly #database: ConsumerDatabase;
  readonly #committed: Written[] = [];
  readonly #rolledBack = new Set<string>();
  readonly #keys = new Map<string, string>();
  readonly #stale: string[] = [];
  readonly #relays: Process[] = [];
  readonly #consumers: Process[] = [];
  #born = 0;
  #isHealed = false;

  constructor(seed: number) {
    this.#seed = seed;
    const drawn = drawWeather(stream(seed, 'weather'));
    this.#weather = drawn.weather;
    this.#faults = drawn.faults;
    this.#shape = drawShape(stream(seed, 'shape'));
    this.#broker = new Broker(this.#schedule, this.#weather, stream(seed, 'broker'));
    this.#database = new ConsumerDatabase(this.#schedule, this.#weather, stream(seed, 'database'));
  }

  async run(): Promise<DeliveryResult> {
    const plan = stream(this.#seed, 'plan');
    for (let i = plan.int(1, 3); i > 0; i--) this.#startRelay();
    for (let i = plan.int(1, 3); i > 0; i--) this.#startConsumer();
    this.#rebalance();
    const keys = plan.int(1, 40);
    for (let i = 0; i < keys; i++) this.#write(`k${i}`, stream(this.#seed, `writer/${i}`));
    this.#strike(stream(this.#seed, 'faults'));
    this.#operate(stream(this.#seed, 'operator'));
    this.#schedule.after(safetyMs, () => this.#heal());
    this.#watch();
    await this.#schedule.run();
    const history = this.#history();
    return {
      seed: this.#seed,
      history,
      violations: deliveryViolations(history),
      hash: this.#hash.value,
      events: this.#schedule.events,
      virtualMs: this.#schedule.now,
    };
  }

  // ---- who does something

  /** One after the other: a key's messages have an order. Some transactions take long, some come to nothing. */
  #write(key: string, random: Rng): void {
    let n = 0;
    const next = (): void => {
      if (this.#isHealed) return;
      const id = `${key}/${n++}`;
      this.#keys.set(id, key);
      const commit = this.#outbox.begin({ id, key, target: 'broker', address: 'orders' });
      this.#schedule.after(
        random.chance(0.05) ? random.next() * commitsWithinMs * 0.9 : random.next() * 30,
        () => {
          if (random.chance(0.1)) {
            this.#rolledBack.add(id);
          } else {
            commit();
            this.#committed.push({ id, key });
          }
          this.#schedule.after(random.next() * 200, next);
        },
      );
    };
    next();
  }

  #startRelay(): void {
    const process = this.#process('relay', this.#relays);
    const random = stream(this.#seed, process.name);
    void createRelay({
      name: process.name,
      store: this.#line(process, random),
      publishers: [
        {
          name: 'broker',
          order: this.#shape.order,
          publish: (batch) => this.#broker.publish(process, batch),
        },
      ],
      clock: {
        now: () => process.clock.monotonicMs(),
        schedule: (delayMs, callback) => process.clock.schedule(delayMs, callback),
      },
      random: () => random.next(),
      ordering: this.#shape.ordering,
      onDead: 'block-key',
      // It is the world that kills here, and no message.
      limits: {
        leaseTtlMs,
        crashesMax: 1_000,
        batchMax: random.pick([1, 5, 50]),
        messagesMax: random.pick([10, 100]),
      },
      retry: { attemptsMax: 1_000, baseMs: 20, maxMs: 1_000 },
    })
      .start()
      // Of a store that failed at the start: a supervisor starts it again.
      .catch(() =>
        process.clock.schedule(500, () => this.#replace(process, this.#relays, () => this.#startRelay())),
      );
  }

  /** Now and then somebody replays what was given up, past all relays. */
  #operate(random: Rng): void {
    this.#schedule.after(random.next() * 4_000, () => {
      void this.#outbox.dead.replay({});
      this.#operate(random);
    });
  }

  #startConsumer(): void {
    const process = this.#process('consumer', this.#consumers);
    const inbox = this.#database.for(process, (id) => this.#keys.get(id) ?? '');
    startConsumer(process, this.#broker, inbox, stream(this.#seed, process.name));
  }

  #process(kind: string, of: Process[]): Process {
    const process = new Process(this.#schedule, `${kind}-${this.#born++}`);
    of.push(process);
    return process;
  }

  /** Between a relay and its store: late, and sometimes without an answer, after or before it was done. */
  #line(process: Process, random: Rng): RelayStore {
    const through = <A extends unknown[], T>(ask: (...args: A) => Promise<T>) => {
      return (...args: A): Promise<T> =>
        new Promise((resolve, reject) => {
          const late = (run: () => void): void =>
            void this.#schedule.after(1 + random.next() * this.#weather.latencyMs, run);
          late(() => {
            if (random.chance(this.#weather.storeFails)) {
              return late(() => process.tell(() => reject(new Error('the store failed'))));
            }
            const isLost = random.chance(this.#weather.storeLosesAnswer);
            void ask(...args).then((value) =>
              late(() =>
                process.tell(() => (isLost ? reject(new Error('the answer was lost')) : resolve(value))),
              ),
            );
          });
        });
    };
    const { heartbeat, claim, release, leave, read, promote, blockedKeys } = this.#outbox;
    return {
      ...this.#outbox,
      heartbeat: through(heartbeat),
      claim: through(claim),
      release: through(release),
      leave: through(leave),
      read: through(read),
      promote: through(promote),
      blockedKeys: through(blockedKeys),
      settle: through((settlements) => this.#settle(process, settlements)),
    };
  }

  /** Watches what a settlement under an old token does. */
  async #settle(process: Process, settlements: readonly Settlement[]): Promise<readonly number[]> {
    const stale = settlements.filter(({ lane, token }) => this.#outbox.tokenOf(lane) !== token);
    if (stale.length === 0) return this.#outbox.settle(settlements);
    const before = new Set(this.#outbox.waiting.map(({ seq }) => seq));
    const lost = await this.#outbox.settle(settlements);
    const after = new Set(this.#outbox.waiting.map(({ seq }) => seq));
    for (const { lane, done, dead } of stale) {
      const gone = [...done, ...dead.map(({ seq }) => seq)].filter(
        (seq) => before.has(seq) && !after.has(seq),
      );
      if (gone.length > 0)
        this.#stale.push(`${process.name} settled ${gone.length} messages of lane ${lane}`);
    }
    return lost;
  }

  // ---- what goes wrong

  #strike(random: Rng): void {
    this.#schedule.after(random.next() * 1_500, () => {
      if (this.#isHealed) return;
      const [of, start] = random.chance(0.5)
        ? [this.#relays, () => this.#startRelay()]
        : [this.#consumers, () => this.#startConsumer()];
      const victim = of[random.int(0, of.length - 1)];
      if (victim !== undefined && this.#faults.kills && random.chance(0.5)) this.#replace(victim, of, start);
      else if (victim !== undefined && this.#faults.pauses) {
        victim.pause();
        this.#schedule.after(random.next() * 8_000, () => victim.resume());
      }
      this.#strike(random);
    });
  }

  #replace(process: Process, of: Process[], start: () => void): void {
    const at = of.indexOf(process);
    if (at === -1) return;
    of.splice(at, 1);
    process.crash();
    start();
    this.#rebalance();
  }

  /** The broker finds out after a while. */
  #rebalance(): void {
    this.#schedule.after(500, () => this.#broker.rebalance(this.#consumers.map(({ name }) => name)));
  }

  #heal(): void {
    this.#isHealed = true;
    Object.assign(this.#weather, calmDelivery());
    for (const process of [...this.#relays, ...this.#consumers]) process.resume();
  }

  // ---- the end

  #watch(): void {
    this.#schedule.after(1_000, () => {
      const isOver = this.#schedule.now > safetyMs + livenessMs;
      const isThrough =
        this.#isHealed &&
        this.#schedule.now > safetyMs + 10_000 &&
        this.#outbox.waiting.length === 0 &&
        this.#behind().length === 0;
      void this.#outbox.stats().then(({ dead }) => {
        if (isOver || (isThrough && dead === 0)) this.#schedule.stop();
        else this.#watch();
      });
    });
  }

  #behind(): readonly string[] {
    return this.#broker.logs.flatMap((log, partition) => {
      const position = this.#broker.committed[partition] ?? 0n;
      return BigInt(log.length) > position
        ? [`partition ${partition} is committed up to ${position} of ${log.length}`]
        : [];
    });
  }

  #history(): DeliveryHistory {
    return {
      committed: this.#committed,
      rolledBack: this.#rolledBack,
      log: this.#broker.all,
      effects: this.#database.effects,
      staleSettlements: this.#stale,
      waiting: this.#outbox.waiting.map(({ id }) => id),
      behind: this.#behind(),
      hasPauses: this.#faults.pauses,
    };
  }
}
