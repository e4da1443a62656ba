/** What must hold at the end, asked of the two databases alone. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileNames } from './databases.ts';

export interface OutboxFact {
  readonly name: string;
  readonly says: string;
  readonly violations: number;
  readonly examples: readonly string[];
}

export interface OutboxCheck {
  readonly holds: boolean;
  readonly facts: readonly OutboxFact[];
  /** Orders that are committed. */
  readonly orders: number;
  readonly invoices: number;
  readonly customers: number;
}

const examplesMax = 5;

/** One row for each violation, whose `what` names it. */
const questions = [
  {
    name: 'exactly-once',
    says: 'every committed order has exactly one invoice, with the same content',
    sql: `select 'order ' || o.number || ' has ' || count(i.at) || ' invoices, ' ||
                 count(case when i.customer = o.customer and i.nth = o.nth and i.cents = o.cents then 1 end) || ' of them right' as what
          from orders o left join billing.invoices i on i.number = o.number
          group by o.number
          having count(i.at) <> 1
              or count(case when i.customer = o.customer and i.nth = o.nth and i.cents = o.cents then 1 end) <> 1`,
  },
  {
    name: 'nothing-made-up',
    says: 'no order that was rolled back has one',
    sql: `select 'there is an invoice for order ' || i.number || ', which is not there' as what
          from billing.invoices i where not exists (select 1 from orders o where o.number = i.number)`,
  },
  {
    name: 'key-order',
    says: 'the invoices of each customer were made in the order of the commits',
    // Of an order that has several the first: that it has is another matter.
    sql: `select 'order ' || number || ' of ' || customer || ' came after a later one' as what
          from (select number, customer, nth, max(nth) over (partition by customer order by at) as latest
                from (select number, customer, nth, min(at) as at from billing.invoices group by number))
          where nth < latest`,
  },
  {
    name: 'nothing-left',
    says: 'no message waits or was given up',
    sql: `select 'message ' || id || ' still waits' as what from settle_outbox
          union all select 'message ' || id || ' waits for its time' from settle_outbox_delayed
          union all select 'message ' || id || ' was given up: ' || reason from settle_outbox_dead
          union all select 'message ' || message_id || ' was given up by the consumer: ' || reason
                    from billing.settle_inbox_dead`,
  },
] as const;

/** `told`: the orders of which the writer said that they are committed. Opens the files by itself, and changes nothing. */
export function checkOutbox(dir: string, told: Iterable<number>): OutboxCheck {
  const db = new DatabaseSync(join(dir, fileNames.shop), { readOnly: true });
  try {
    db.prepare('attach ? as billing').run(join(dir, fileNames.billing));
    const asked = questions.map(({ name, says, sql }) => {
      const violations = db
        .prepare(sql)
        .all()
        .map(({ what }) => String(what));
      return fact(name, says, violations);
    });
    const isThere = db.prepare('select 1 from orders where number = ?');
    const lost = [...told].filter((number) => isThere.get(number) === undefined);
    const kept = fact(
      'as-told',
      'every order that the shop called committed is there',
      lost.map((number) => `order ${number} is gone`),
    );
    const facts = [...asked, kept];
    const count = (what: string): number => Number(db.prepare(`select ${what} as n`).get()?.['n']);
    return {
      holds: facts.every(({ violations }) => violations === 0),
      facts,
      orders: count('(select count(*) from orders)'),
      invoices: count('(select count(*) from billing.invoices)'),
      customers: count('(select count(distinct customer) from orders)'),
    };
  } finally {
    db.close();
  }
}

function fact(name: string, says: string, violations: readonly string[]): OutboxFact {
  return { name, says, violations: violations.length, examples: violations.slice(0, examplesMax) };
}
