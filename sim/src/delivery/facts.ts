/** The facts that every run of messages from their transactions to their effects has to keep. */
import type { DeliveryHistory, Written } from './history.ts';

export interface DeliveryViolation {
  readonly fact: keyof typeof facts;
  readonly what: string;
}

type Check = (history: DeliveryHistory) => readonly string[];

const facts = {
  'a message is published if and only if its transaction committed': ({ committed, rolledBack, log }) => {
    const published = new Set(log.map(({ id }) => id));
    return [
      ...committed.filter(({ id }) => !published.has(id)).map(({ id }) => `${id} was never published`),
      ...[...published]
        .filter((id) => rolledBack.has(id))
        .map((id) => `${id} was rolled back, and published`),
    ];
  },
  'messages of a key are published in order, save for repeats': (history) =>
    // What hung for longer than its lease publishes after its successor: at the broker nothing can keep it from that.
    history.hasPauses ? [] : outOfOrder(history.committed, history.log),
  'every message takes effect exactly once': ({ committed, effects }) => {
    const counts = new Map<string, number>();
    for (const { id } of effects) counts.set(id, (counts.get(id) ?? 0) + 1);
    return committed.flatMap(({ id }) => {
      const count = counts.get(id) ?? 0;
      return count === 1 ? [] : [`${id} took effect ${count} times`];
    });
  },
  'messages of a key take effect in the order they were published': ({ log, effects }) =>
    outOfOrder(log, effects),
  'a lane is settled only by who holds it': ({ staleSettlements }) => staleSettlements,
  'everything is through once nothing fails any more': ({ waiting, behind }) => [
    ...waiting.map((id) => `${id} is still in the outbox`),
    ...behind,
  ],
} as const satisfies Record<string, Check>;

/** What is wrong with the run. */
export function deliveryViolations(history: DeliveryHistory): readonly DeliveryViolation[] {
  return Object.entries(facts).flatMap(([fact, check]) =>
    check(history).map((what) => ({ fact: fact as keyof typeof facts, what })),
  );
}

/** Those that came before one of their key that should have been first; repeats count where they came first. */
function outOfOrder(expected: readonly Written[], found: readonly Written[]): readonly string[] {
  const place = new Map<string, number>();
  for (const [i, { id }] of found.entries()) if (!place.has(id)) place.set(id, i);
  const last = new Map<string, Written>();
  const seen = new Set<string>();
  const wrong: string[] = [];
  for (const one of expected) {
    if (seen.has(one.id)) continue;
    seen.add(one.id);
    const before = last.get(one.key);
    const [first, second] = [before === undefined ? undefined : place.get(before.id), place.get(one.id)];
    if (first !== undefined && second !== undefined && second < first) {
      wrong.push(`${one.id} came before ${before?.id ?? ''} of the same key`);
    }
    if (second !== undefined) last.set(one.key, one);
  }
  return wrong;
}
