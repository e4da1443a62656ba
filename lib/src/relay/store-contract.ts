/**
 * The facts every store of relays holds to, ours and yours:
 *
 *   import { describe, it } from 'vitest' // or node:test
 *   relayStoreContract({ describe, it }, 'my store', async () => openMine())
 */
import { deadLetters } from './store-contract/dead-letters.ts';
import { delayed } from './store-contract/delayed.ts';
import { leases } from './store-contract/leases.ts';
import type { ContractPlace, Lack } from './store-contract/place.ts';
import { reading } from './store-contract/reading.ts';
import { settling } from './store-contract/settling.ts';
import { tables } from './store-contract/tables.ts';
import { World, type Facts } from './store-contract/world.ts';

export type { ContractPlace, DedupKeys, Lack, NewMessage, OpenWriter } from './store-contract/place.ts';

const facts: Facts = { ...leases, ...reading, ...settling, ...delayed, ...deadLetters, ...tables };

/** Of a test runner, what the suite needs: vitest, jest, mocha and node:test all fit. */
export interface RelayStoreContractRunner {
  describe(name: string, body: () => void): unknown;
  readonly it: {
    (title: string, body: () => Promise<void>): unknown;
    skip(title: string, body: () => Promise<void>): unknown;
  };
}

/** Declares one test per fact. `open` is called for each. A fact that does not hold throws, with what was expected. */
export function relayStoreContract(
  runner: RelayStoreContractRunner,
  name: string,
  open: () => Promise<ContractPlace>,
  lacks: Readonly<Partial<Record<Lack, string>>> = {},
): void {
  runner.describe(`relay store contract: ${name}`, () => {
    for (const [title, { check, needs }] of Object.entries(facts)) {
      const reason = needs === undefined ? undefined : lacks[needs];
      const body = async (): Promise<void> => {
        const opened = await open();
        try {
          await check(new World(opened));
        } finally {
          await opened.dispose?.();
        }
      };
      if (reason === undefined) runner.it(title, body);
      else runner.it.skip(`${title} [skipped: ${reason}]`, body);
    }
  });
}
