import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Refused, saga, unchecked } from '../client/index.ts';
import { sqliteStore } from '../store/sqlite/index.ts';
import { openCoordinator } from './open-coordinator.ts';

const folder = mkdtempSync(join(tmpdir(), 'settle-changed-'));
afterAll(() => rmSync(folder, { recursive: true }));

const did: string[] = [];
const soon = { kind: 'exponential', baseMs: 5, factor: 1, maxMs: 5 } as const;
const input = unchecked<{ n: number }>();

/** As it was when the transaction was submitted: its second step has no answer yet. */
const before = saga('order', { input })
  .step('reserve', { do: ({ n }) => void did.push(`reserve ${n}`), undo: () => void did.push('release') })
  .step('charge', {
    do: () => {
      throw new Error('not yet');
    },
    undo: () => void did.push('refund'),
    retry: soon,
  })
  .step('ship', { do: () => void did.push('ship') });

/** As it is after the restart: steps in another order, one more in front, another input. */
const after = (ship: () => void) =>
  saga('order', { input: unchecked<{ count: number }>() })
    .step('check', { do: () => void did.push('check') })
    .step('ship', { do: ship })
    .step('charge', { do: () => void did.push('charge'), undo: () => void did.push('refund'), retry: soon })
    .step('reserve', { do: () => void did.push('reserve again'), undo: () => void did.push('release') });

describe('a saga whose definition changed while it was under way', () => {
  // covers A6
  it.each([
    ['forward', (): void => void did.push('ship'), 'committed', ['charge', 'ship']],
    [
      'back',
      (): void => {
        throw new Refused('no longer');
      },
      'aborted',
      ['charge', 'refund', 'release'],
    ],
  ] as const)('goes %s by the plan it was submitted with', async (way, ship, status, done) => {
    const path = join(folder, `${way}.db`);
    const first = await openCoordinator({ store: sqliteStore(path), definitions: [before] });
    const { gid } = await first.run(before, { n: 1 }, { waitMs: 50 });
    await first.close();
    expect(did.splice(0)).toEqual(['reserve 1']);
    await using second = await openCoordinator({
      store: sqliteStore(path),
      definitions: [after(ship)],
      limits: { claimEveryMs: 20 },
    });
    expect((await second.get(gid, { waitMs: 10_000 })).status).toBe(status);
    expect(did.splice(0)).toEqual(done);
  });
});
