/** settle/local on pg. */
import { Pool } from 'pg';
import { createTransactions, type Transaction } from 'settle/local';
import { type PgHandle, pgDriver } from 'settle/local/pg';
import type { Peer, Unit } from '../peer.ts';
import { versionsOf } from '../versions.ts';

export function settleWith(
  name: string,
  { about, reserveForNested }: { readonly about: string; readonly reserveForNested: number },
): Peer {
  return {
    name,
    about: `settle/local of this commit, ${versionsOf('pg')}; tx.run, ${about}`,
    offers: ['required', 'nested', 'requiresNew', 'afterCommit'],
    open({ url, poolMax, acquireTimeoutMs }) {
      const pool = new Pool({ connectionString: url, max: poolMax });
      const tx = createTransactions(pgDriver(pool), {
        reserveForNested: Math.min(reserveForNested, poolMax - 1),
        defaults: acquireTimeoutMs === undefined ? {} : { acquireTimeoutMs },
      });
      const unitOf = (t: Transaction<PgHandle<Pool>>): Unit => ({
        async insert(text) {
          await t.client.query('insert into note (text) values ($1)', [text]);
        },
        async fail() {
          await t.client.query('select 1 / 0');
        },
        run: (propagation, work) => tx.run((inner) => work(unitOf(inner)), { propagation }),
        afterCommit: (hook) => t.onAfterCommit(hook),
      });
      return Promise.resolve({
        run: (work) => tx.run((t) => work(unitOf(t))),
        async insert(text) {
          await tx.db.query('insert into note (text) values ($1)', [text]);
        },
      });
    },
  };
}
