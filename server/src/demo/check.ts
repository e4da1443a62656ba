/**
 * The conservation check: reads the services' own databases, after they stopped, and nothing else. What is on a server was
 * copied into a file before, row by row.
 *
 * Owns: what must hold once everything has settled, one query per fact; a row that comes back is a violation.
 * Does not own: whether everything has settled (the run waits for that), the coordinator's opinion (never asked).
 *
 * - C1 Money: of every customer, opening = balance + held - owed + taken; the till holds what was taken.
 * - C2 Goods: of every product, opening = available + held + sold - backordered; nothing is below zero.
 * - C3 All or nothing: stock and wallet did for an order exactly what an accepted order asks, else nothing.
 * - C4 Nothing held: no hold is left, no order is undecided.
 * - C5 Exactly once: no order, line or payment took effect twice.
 * - C6 What customers were told is so: an order reported as placed is accepted, a rejected one is not.
 */
import { DatabaseSync } from 'node:sqlite';
import { databaseFile } from './databases/database-file.ts';

export interface CheckReport {
  readonly holds: boolean;
  readonly facts: readonly Fact[];
  readonly totals: CheckTotals;
}

export interface Fact {
  readonly name: FactName;
  readonly says: string;
  readonly violations: number;
  /** The first few, for people. */
  readonly examples: readonly string[];
}

export type FactName = 'money' | 'goods' | 'all-or-nothing' | 'nothing-held' | 'exactly-once' | 'as-told';

export interface CheckTotals {
  readonly accepted: number;
  readonly cancelled: number;
  readonly openingCents: number;
  /** Balances and holds, less what is owed on account. */
  readonly customersCents: number;
  readonly takingsCents: number;
  readonly openingPieces: number;
  readonly soldPieces: number;
}

/** What a customer was told about an order. */
export interface Told {
  readonly orderId: string;
  readonly answer: 'placed' | 'rejected';
}

const examplesMax = 5;

/** Checks the databases in a folder. They are opened for reading only. */
export function checkConservation(dir: string, told: Iterable<Told>): CheckReport {
  const db = new DatabaseSync(databaseFile(dir, 'orders'), { readOnly: true });
  try {
    db.prepare('attach ? as stock').run(databaseFile(dir, 'stock'));
    db.prepare('attach ? as wallet').run(databaseFile(dir, 'wallet'));
    rememberTold(db, told);
    const facts = factQueries.map(({ name, says, queries }) => evaluate(db, name, says, queries));
    return { holds: facts.every((fact) => fact.violations === 0), facts, totals: totalsOf(db) };
  } finally {
    db.close();
  }
}

interface FactQuery {
  readonly name: FactName;
  readonly says: string;
  /** Each gives one row per violation, with its text in `what`. */
  readonly queries: readonly string[];
}

const factQueries: readonly FactQuery[] = [
  {
    name: 'money',
    says: 'money is conserved',
    queries: [
      `select 'customer ' || c.id || ' began with ' || c.opening_cents || ' and now accounts for '
         || (c.balance_cents + c.held_cents - c.owed_cents + coalesce(e.taken, 0)) as what
       from wallet.customer c
       left join (select customer_id, sum(taken_cents) as taken from wallet.entry group by customer_id) e
         on e.customer_id = c.id
       where c.opening_cents <> c.balance_cents + c.held_cents - c.owed_cents + coalesce(e.taken, 0)`,
      `select 'customer ' || id || ' has balance ' || balance_cents || ', held ' || held_cents || ', owed ' || owed_cents as what
       from wallet.customer where balance_cents < 0 or held_cents < 0 or owed_cents < 0`,
      `select 'the till holds ' || t.takings_cents || ', the payments sum to ' || e.taken as what
       from wallet.till t, (select coalesce(sum(taken_cents), 0) as taken from wallet.entry) e
       where t.takings_cents <> e.taken`,
      `select 'the till holds ' || t.takings_cents || ', the accepted orders cost ' || o.total as what
       from wallet.till t,
         (select coalesce(sum(total_cents), 0) as total from main.customer_order where status = 'accepted') o
       where t.takings_cents <> o.total`,
    ],
  },
  {
    name: 'goods',
    says: 'goods are conserved',
    queries: [
      `select sku || ' began with ' || opening || ' and now accounts for '
         || (available + held + sold - backordered) as what
       from stock.product where opening <> available + held + sold - backordered`,
      `select sku || ' has ' || available || ' available, ' || held || ' held, ' || sold || ' sold' as what
       from stock.product where available < 0 or held < 0 or sold < 0 or backordered < 0`,
      `select p.sku || ' says ' || p.sold || ' sold, its movements ' || coalesce(m.sold, 0) as what
       from stock.product p
       left join (select sku, sum(sold) as sold from stock.movement group by sku) m on m.sku = p.sku
       where p.sold <> coalesce(m.sold, 0)`,
    ],
  },
  {
    name: 'all-or-nothing',
    says: 'every order is everywhere or nowhere',
    queries: [
      // What accepted orders ask of stock, against what stock did; both ways, so that neither side may have more.
      `with asked as (
         select l.order_id, l.sku, sum(l.quantity) as pieces from main.order_line l
         where exists (select 1 from main.customer_order o where o.order_id = l.order_id and o.status = 'accepted')
         group by l.order_id, l.sku),
       given as (select order_id, sku, sum(sold) as pieces from stock.movement group by order_id, sku)
       select coalesce(a.order_id, g.order_id) || ' asks for ' || coalesce(a.pieces, 0) || ' of '
         || coalesce(a.sku, g.sku) || ', stock gave ' || coalesce(g.pieces, 0) as what
       from asked a full join given g on g.order_id = a.order_id and g.sku = a.sku
       where coalesce(a.pieces, 0) <> coalesce(g.pieces, 0)`,
      `with asked as (
         select order_id, sum(total_cents) as cents from main.customer_order where status = 'accepted' group by order_id),
       taken as (select order_id, sum(taken_cents) as cents from wallet.entry group by order_id)
       select coalesce(a.order_id, t.order_id) || ' costs ' || coalesce(a.cents, 0) || ', wallet took '
         || coalesce(t.cents, 0) as what
       from asked a full join taken t on t.order_id = a.order_id
       where coalesce(a.cents, 0) <> coalesce(t.cents, 0)`,
      // The number that orders gave travelled to wallet as the result of an earlier step.
      `select e.order_id || ' has number ' || o.number || ', wallet noted ' || e.reference as what
       from wallet.entry e join main.customer_order o on o.order_id = e.order_id
       where e.reference is not null and e.reference <> o.number`,
    ],
  },
  {
    name: 'nothing-held',
    says: 'nothing is left held or undecided',
    queries: [
      `select order_id || ' is undecided' as what from main.customer_order where status = 'open'`,
      `select sku || ' has ' || held || ' held' as what from stock.product where held <> 0`,
      `select order_id || ' holds ' || sum(held) || ' of ' || sku as what
       from stock.movement group by order_id, sku having sum(held) <> 0`,
      `select 'customer ' || id || ' has ' || held_cents || ' held' as what from wallet.customer where held_cents <> 0`,
      `select order_id || ' holds ' || sum(held_cents) || ' cents' as what
       from wallet.entry group by order_id having sum(held_cents) <> 0`,
    ],
  },
  {
    name: 'exactly-once',
    says: 'no order took effect twice',
    queries: [
      `select order_id || ' was created ' || count(*) || ' times' as what
       from main.customer_order group by order_id having count(*) > 1`,
      `select order_id || ' was given ' || sku || ' ' || count(*) || ' times' as what
       from stock.movement where sold > 0 group by order_id, sku having count(*) > 1`,
      `select order_id || ' gave back ' || sku || ' ' || count(*) || ' times' as what
       from stock.movement where sold < 0 group by order_id, sku having count(*) > 1`,
      `select order_id || ' paid ' || count(*) || ' times' as what
       from wallet.entry where taken_cents > 0 group by order_id having count(*) > 1`,
      `select order_id || ' was refunded ' || count(*) || ' times' as what
       from wallet.entry where taken_cents < 0 group by order_id having count(*) > 1`,
    ],
  },
  {
    name: 'as-told',
    says: 'every customer was told the truth',
    queries: [
      `select t.order_id || ' was told to be ' || t.answer || ', and is '
         || coalesce((select status from main.customer_order o where o.order_id = t.order_id), 'absent') as what
       from temp.told t
       where (t.answer = 'placed') <> exists (
         select 1 from main.customer_order o where o.order_id = t.order_id and o.status = 'accepted')`,
    ],
  },
];

function evaluate(db: DatabaseSync, name: FactName, says: string, queries: readonly string[]): Fact {
  const examples: string[] = [];
  let violations = 0;
  for (const query of queries) {
    for (const row of db.prepare(query).iterate()) {
      violations++;
      if (examples.length < examplesMax) examples.push(String(row['what']));
    }
  }
  return { name, says, violations, examples };
}

function rememberTold(db: DatabaseSync, told: Iterable<Told>): void {
  db.exec('create temp table told (order_id text not null, answer text not null)');
  const insert = db.prepare('insert into temp.told values (?, ?)');
  db.exec('begin');
  for (const { orderId, answer } of told) insert.run(orderId, answer);
  db.exec('commit');
}

function totalsOf(db: DatabaseSync): CheckTotals {
  const one = (sql: string): number => Number(db.prepare(sql).get()?.['n'] ?? 0);
  const customers = 'sum(balance_cents + held_cents - owed_cents)';
  return {
    accepted: one(`select count(*) as n from main.customer_order where status = 'accepted'`),
    cancelled: one(`select count(*) as n from main.customer_order where status = 'cancelled'`),
    openingCents: one('select sum(opening_cents) as n from wallet.customer'),
    customersCents: one(`select ${customers} as n from wallet.customer`),
    takingsCents: one('select sum(takings_cents) as n from wallet.till'),
    openingPieces: one('select sum(opening) as n from stock.product'),
    soldPieces: one('select sum(sold) as n from stock.product'),
  };
}
