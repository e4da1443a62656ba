/** Who is killed when: planned by seed for a run with an end, by chance for one without. */
import { setTimeout as sleep } from 'node:timers/promises';
import { between, createDice, pick, type Dice } from '../dice.ts';
import { roles, type Role } from './settings.ts';

export interface Kill {
  readonly role: Role;
  /** Orders after which: written ones for the writer, those that took effect for the others, so that they are all at work. */
  readonly afterOrders: number;
  /** So that it is not always at the same place of their work. */
  readonly delayMs: number;
}

const ordersForEachKill = 100;
const killsMax = 4;
const delayMsMax = 60;
const ordersBetweenKills = 80;

/** Each role so often, spread over the run, and never after its last tenth. In the order of `afterOrders`. */
export function planKills(seed: number, orders: number): readonly Kill[] {
  const dice = createDice(seed, 'outbox-kills');
  const count = Math.min(Math.max(Math.round(orders / ordersForEachKill), 1), killsMax);
  const each = roles.flatMap((role) =>
    Array.from({ length: count }, (_, n) => {
      const share = (n + 0.1 + dice() * 0.7) / count;
      return { role, afterOrders: Math.max(1, Math.floor(share * orders * 0.9)), delayMs: delayOf(dice) };
    }),
  );
  return each.toSorted((a, b) => a.afterOrders - b.afterOrders);
}

export interface Progress {
  /** Orders of the writer that are committed or rolled back. */
  readonly written: number;
  /** Orders that have taken effect at the consumer. */
  readonly effects: number;
}

export interface Kills {
  /** What is due now, each once. */
  due(progress: Progress): readonly Kill[];
}

export const noKills: Kills = { due: () => [] };

export function createKills(seed: number, orders: number | undefined): Kills {
  if (orders === undefined) return endlessKills(seed);
  let open = planKills(seed, orders);
  return {
    due({ written, effects }) {
      const isDue = ({ role, afterOrders }: Kill): boolean =>
        (role === 'writer' ? written : effects) >= afterOrders;
      const due = open.filter(isDue);
      if (due.length > 0) open = open.filter((kill) => !isDue(kill));
      return due;
    },
  };
}

function endlessKills(seed: number): Kills {
  const dice = createDice(seed, 'outbox-kills');
  let next = ordersBetweenKills;
  return {
    due({ effects }) {
      if (effects < next) return [];
      const kill = { role: pick(dice, roles), afterOrders: next, delayMs: delayOf(dice) };
      next = effects + ordersBetweenKills;
      return [kill];
    },
  };
}

function delayOf(dice: Dice): number {
  return between(dice, 0, delayMsMax);
}

export interface KillingOptions {
  readonly kills: Kills;
  /** SIGKILL, and start again. */
  readonly kill: (role: Role) => Promise<void>;
  readonly onSurprise: (error: Error) => void;
}

/** Carries kills out one after the other: nobody is killed who is still starting. */
export class Killing {
  readonly #options: KillingOptions;
  #running: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(options: KillingOptions) {
    this.#options = options;
  }

  hear(progress: Progress): void {
    if (this.#isOver) return;
    const { kills, kill, onSurprise } = this.#options;
    for (const { role, delayMs } of kills.due(progress)) {
      this.#running = this.#running.then(async () => {
        await sleep(delayMs);
        await kill(role);
      });
    }
    this.#running.catch(onSurprise);
  }

  /** Resolves when those that are due by now are over, and whom they met runs again. */
  settled(): Promise<void> {
    return this.#running;
  }

  /** None begins any more. */
  end(): Promise<void> {
    this.#isOver = true;
    return this.#running;
  }
}
