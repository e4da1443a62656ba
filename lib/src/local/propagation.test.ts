import { expect, test } from 'vitest';
import { ScriptedDatabase } from '../../../test/local/scripted-driver.ts';
import { outcomeOf } from '../../../test/local/world.ts';
import { postgresDialect } from './dialect.ts';
import { createTransactions } from './manager.ts';
import { participation, propagations } from './propagation.ts';

test('without a transaction, no propagation joins one; inside one, none but requiresNew begins another', () => {
  const alone = propagations.map((propagation) => participation(propagation, false));
  expect(alone).not.toContain('join');
  expect(alone).not.toContain('savepoint');
  const within = propagations.filter((propagation) => participation(propagation, true) === 'begin');
  expect(within).toEqual(['requiresNew']);
});

test('nested is an error where the database has no savepoints, and never becomes a transaction of its own', async () => {
  const database = new ScriptedDatabase({ dialect: { ...postgresDialect, savepoints: false } });
  const tx = createTransactions(database.driver);
  const nested = (): Promise<string> =>
    tx.run((t) => t.client.query('insert'), { propagation: 'nested', label: 'part' });
  // Alone it is a transaction like any other.
  await nested();
  expect(await outcomeOf(tx.run(() => nested()))).toBe('savepoints_unsupported');
  expect(database.log.filter((line) => line.includes('insert'))).toHaveLength(1);
});
