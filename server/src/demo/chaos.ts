/**
 * Kills processes while the shop is busy.
 *
 * With a known number of orders the kills stand at fixed orders, so that the same seed kills at the same places; in an
 * endless run every few hundred orders.
 */
import { createDice, pick, type Dice } from './dice.ts';
import { serviceNames, type ServiceName } from './databases.ts';

export type Victim = ServiceName | 'coordinator';

export interface ChaosOptions {
  readonly seed: number;
  readonly orders: number | undefined;
  readonly services: boolean;
  readonly coordinator: boolean;
  /** SIGKILL and start again. Never called for a victim that is still starting. */
  readonly kill: (victim: Victim) => Promise<void>;
}

export interface Chaos {
  /** Called before each order. */
  before(sequence: number): void;
  /** Resolves when every victim runs again. */
  settled(): Promise<void>;
}

const coordinatorKills = 4;
const ordersBetweenKills = 400;

export function createChaos(options: ChaosOptions): Chaos {
  const { orders, kill } = options;
  const dice = createDice(options.seed, 'chaos');
  const planned = orders === undefined ? undefined : plan(options, orders, dice);
  let running: Promise<void> = Promise.resolve();
  const killNext = (victim: Victim): void => {
    running = running.then(() => kill(victim));
    // Whoever waits for `settled` hears of it; until then it is nobody's surprise.
    running.catch(() => {});
  };
  return {
    before(sequence) {
      for (const victim of planned?.get(sequence) ?? []) killNext(victim);
      if (planned === undefined && sequence % ordersBetweenKills === 0)
        killNext(pick(dice, victims(options)));
    },
    settled: () => running,
  };
}

/** Each service once, the coordinator several times, spread over the run and never at its first order. */
export function plan(
  options: Pick<ChaosOptions, 'services' | 'coordinator'>,
  orders: number,
  dice: Dice,
): ReadonlyMap<number, readonly Victim[]> {
  const planned = new Map<number, Victim[]>();
  const place = (victim: Victim, at: number): void => {
    const sequence = Math.min(Math.max(Math.ceil(at * orders), 1), orders);
    planned.set(sequence, [...(planned.get(sequence) ?? []), victim]);
  };
  if (options.services) {
    serviceNames.forEach((service, n) => place(service, (n + 0.3 + dice() * 0.5) / serviceNames.length));
  }
  if (options.coordinator) {
    for (let n = 0; n < coordinatorKills; n++)
      place('coordinator', (n + 0.3 + dice() * 0.6) / coordinatorKills);
  }
  return planned;
}

function victims({ services, coordinator }: ChaosOptions): readonly Victim[] {
  return [...(services ? serviceNames : []), ...(coordinator ? (['coordinator'] as const) : [])];
}
