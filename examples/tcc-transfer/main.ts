/** A transfer between two banks, each with a database of its own: hold first, then take and give, or free. */
import { DatabaseSync } from 'node:sqlite';
import { Refused, tcc, unchecked } from 'settle';
import { openCoordinator } from 'settle/engine';
import { sqliteBarrier } from 'settle/participant/sqlite';
import { sqliteStore } from 'settle/store/sqlite';

interface Transfer {
  readonly from: string;
  readonly to: string;
  readonly cents: number;
}

const [left, right] = [openBank('left.db', 'ann'), openBank('right.db', 'bob')];

// The barrier makes each operation count once, in the transaction of the bank's own database.
const transfer = tcc('transfer', { input: unchecked<Transfer>() })
  .branch('debit', {
    try: (input, ctx) =>
      left.barrier.run(ctx, (db) => {
        const held = db
          .prepare('update account set held = held + $n where owner = $owner and balance - held >= $n')
          .run({ n: input.cents, owner: input.from });
        if (held.changes === 0) throw new Refused(`${input.from} has less than ${input.cents} cents`);
      }),
    confirm: (input, _tried, ctx) =>
      left.barrier.run(ctx, (db) => {
        const take = db.prepare(
          'update account set balance = balance - $n, held = held - $n where owner = $owner',
        );
        take.run({ n: input.cents, owner: input.from });
      }),
    cancel: (input, _tried, ctx) =>
      left.barrier.run(ctx, (db) => {
        db.prepare('update account set held = held - ? where owner = ?').run(input.cents, input.from);
      }),
  })
  .branch('credit', {
    try: (input, ctx) =>
      right.barrier.run(ctx, (db) => {
        const known = db.prepare('select 1 from account where owner = ?').get(input.to);
        if (known === undefined) throw new Refused(`${input.to} has no account`);
      }),
    confirm: (input, _tried, ctx) =>
      right.barrier.run(ctx, (db) => {
        db.prepare('update account set balance = balance + ? where owner = ?').run(input.cents, input.to);
      }),
    cancel: (_input, _tried, ctx) => right.barrier.run(ctx, () => undefined),
  });

const coordinator = await openCoordinator({ store: sqliteStore('settle.db'), definitions: [transfer] });
for (const cents of [300, 900]) {
  const outcome = await coordinator.run(transfer, { from: 'ann', to: 'bob', cents });
  const why = outcome.status === 'aborted' ? `: ${outcome.reason}` : '';
  console.log(`${cents} cents: ${outcome.status}${why}; ${left.state()}, ${right.state()}`);
}
await coordinator.close();

function openBank(path: string, owner: string) {
  const db = new DatabaseSync(path);
  db.exec('create table if not exists account (owner text primary key, balance integer, held integer)');
  db.prepare('insert or replace into account values (?, 1000, 0)').run(owner);
  const barrier = sqliteBarrier(db);
  barrier.migrate();
  return {
    barrier,
    state(): string {
      const { balance, held } = db.prepare('select balance, held from account').get() ?? {};
      return `${owner} has ${String(balance)} (${String(held)} held)`;
    },
  };
}
