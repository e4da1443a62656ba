/**
 * Kills processes, and cuts connections to databases, while the shop is busy.
 *
 * With a known number of orders the kills stand at fixed orders, so that the same seed kills at the same places; in an
 * endless run every few hundred orders.
 */
import { createDice, pick, type Dice } from './dice.ts';
import { serviceNames, type ServiceName } from './service-names.ts';

export type Victim =
  | { readonly kind: 'coordinator' }
  | { readonly kind: 'service'; readonly service: ServiceName }
  /** All that a service has to its database. */
  | { readonly kind: 'connections'; readonly service: ServiceName };

export interface ChaosOptions {
  readonly seed: number;
  readonly orders: number | undefined;
  readonly services: boolean;
  readonly coordinator: boolean;
  /** Those whose database is on a server. Default: none. */
  readonly connections?: readonly ServiceName[];
  /** SIGKILL and start again; connections are cut, and who lost them gets new ones. Never called for a victim that is still starting. */
  readonly kill: (victim: Victim) => Promise<void>;
}

export interface Chaos {
  /** Called before each order. */
  before(sequence: number): void;
  /** Resolves when every victim runs again. */
  settled(): Promise<void>;
}

const coordinatorKills = 4;
const connectionCuts = 2;
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

/** Each service once, the connections of each twice, the coordinator several times, spread over the run and never at its first order. */
export function plan(
  options: Pick<ChaosOptions, 'services' | 'coordinator' | 'connections'>,
  orders: number,
  dice: Dice,
): ReadonlyMap<number, readonly Victim[]> {
  const planned = new Map<number, Victim[]>();
  const place = (victim: Victim, at: number): void => {
    const sequence = Math.min(Math.max(Math.ceil(at * orders), 1), orders);
    planned.set(sequence, [...(planned.get(sequence) ?? []), victim]);
  };
  if (options.services) {
    serviceNames.forEach((service, n) =>
      place({ kind: 'service', service }, (n + 0.3 + dice() * 0.5) / serviceNames.length),
    );
  }
  if (options.coordinator) {
    for (let n = 0; n < coordinatorKills; n++)
      place({ kind: 'coordinator' }, (n + 0.3 + dice() * 0.6) / coordinatorKills);
  }
  for (const service of options.connections ?? []) {
    for (let n = 0; n < connectionCuts; n++)
      place({ kind: 'connections', service }, (n + 0.2 + dice() * 0.7) / connectionCuts);
  }
  return planned;
}

function victims({ services, coordinator, connections = [] }: ChaosOptions): readonly Victim[] {
  return [
    ...(services ? serviceNames : []).map((service) => ({ kind: 'service', service }) as const),
    ...(coordinator ? [{ kind: 'coordinator' } as const] : []),
    ...connections.map((service) => ({ kind: 'connections', service }) as const),
  ];
}
