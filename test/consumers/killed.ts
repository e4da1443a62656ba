// The fact about every consumer that its members are killed for.
import { expect } from 'vitest';
import { seeded } from '../crash/seeded.ts';
import { Crowd, openEffects, until, type MemberPlan } from './crowd.ts';

export interface KilledOptions {
  readonly plan: MemberPlan;
  readonly members: number;
  readonly kills: number;
  readonly keys: number;
  readonly perKey: number;
  /** Several members may share a key's messages in any order: then only that each takes effect once is asked. */
  readonly keepsOrder: boolean;
  /** Sends these to the source, those of a key in order, and resolves when the broker has them. */
  readonly send: (messages: readonly Sent[]) => Promise<void>;
}

export interface Sent {
  readonly id: string;
  readonly key: string;
  readonly payload: string;
}

/** Kills and closes members at random while messages come in; then each has to have taken effect once, and in order. */
export async function everyMessageOnce(options: KilledOptions): Promise<void> {
  const { plan, members, kills, keys, perKey } = options;
  const seed = Number(process.env['SETTLE_SOAK_SEED'] ?? Date.now() % 1_000_000);
  const draw = seeded(seed, 'kills');
  const below = (count: number): number => Math.floor(draw() * count);
  const total = keys * perKey;
  const rounds = Math.ceil(kills / Math.max(1, members - 1));
  const perRound = Math.ceil(perKey / (rounds + 1));
  const effects = await openEffects(plan.database);
  const crowd = new Crowd(plan);
  let sent = 0;
  const sendSome = async (): Promise<void> => {
    const upTo = Math.min(perKey, sent + perRound);
    const messages: Sent[] = [];
    for (; sent < upTo; sent += 1) {
      for (let key = 0; key < keys; key += 1) {
        messages.push({ id: `${key}-${sent}`, key: `key ${key}`, payload: JSON.stringify({ n: sent }) });
      }
    }
    await options.send(messages);
  };
  try {
    crowd.start(members);
    let killed = 0;
    for (let round = 0; round < rounds; round += 1) {
      const before = await effects.count();
      await sendSome();
      // In the middle of its work.
      const some = below(Math.floor((keys * perRound) / 2)) + 1;
      await until(
        async () => (await effects.count()) >= Math.min(before + some, total),
        60_000,
        () => `seed ${seed}, round ${round}: nothing more takes effect; ${crowd.failures.join('\n')}`,
      );
      const dying = Math.min(kills - killed, Math.max(1, members - 1));
      for (let i = 0; i < dying; i += 1) await crowd.end(below(members), 'SIGKILL');
      killed += dying;
      if (members > 2 && below(2) === 0) {
        await crowd.end(0, 'SIGTERM');
        crowd.start(1);
      }
      crowd.start(dying);
    }
    while (sent < perKey) await sendSome();
    await until(
      async () => (await effects.count()) >= total,
      120_000,
      () => `seed ${seed}: not every message took effect; ${crowd.failures.join('\n')}`,
    );
    const all = await effects.all();
    expect(crowd.failures, `seed ${seed}`).toEqual([]);
    expect(all.length, `seed ${seed}`).toBe(total);
    for (let key = 0; key < keys; key += 1) {
      const order = all.filter((effect) => effect.key === `key ${key}`).map(({ n }) => n);
      const asSent = Array.from({ length: perKey }, (_, n) => n);
      const came = options.keepsOrder ? order : order.toSorted((a, b) => a - b);
      expect(came, `seed ${seed}, key ${key}`).toEqual(asSent);
    }
  } finally {
    await crowd.endAll();
    await effects.close();
  }
}
