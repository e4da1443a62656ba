/** Judges from the banks' own ledgers, never from the coordinator. */
import type { DatabaseSync } from 'node:sqlite';
import { opening, type Banks } from './bank.ts';

/** What the client was told last, and how much was to be moved. */
export interface Told {
  readonly amount: number;
  readonly answer: 'unknown' | 'accepted' | 'committed' | 'aborted';
}

export interface Verdict {
  readonly transactions: number;
  readonly moved: number;
  /** One line for each broken promise. */
  readonly violations: readonly string[];
}

/** With `prunes`, a transaction that is in the store no more has ended, and how it did is not known there. */
export function judge(
  banks: Banks,
  told: ReadonlyMap<string, Told>,
  statusOf: (gid: string) => string | undefined,
  { prunes = false } = {},
): Verdict {
  const payer = netByGid(banks.payer.db);
  const payee = netByGid(banks.payee.db);
  const violations = [...doubled('payer', banks.payer.db), ...doubled('payee', banks.payee.db)];
  let moved = 0;
  for (const gid of new Set([...told.keys(), ...payer.keys(), ...payee.keys()])) {
    const { amount, answer } = told.get(gid) ?? { amount: NaN, answer: 'unknown' };
    const out = -(payer.get(gid) ?? 0);
    const into = payee.get(gid) ?? 0;
    if (out !== into) violations.push(`${gid}: ${out} left the payer, ${into} reached the payee`);
    if (out !== 0 && out !== amount) violations.push(`${gid}: ${out} moved instead of ${amount}`);
    const status = statusOf(gid);
    if (answer !== 'unknown' && status === undefined && !prunes)
      violations.push(`${gid}: acknowledged as ${answer}, and lost`);
    if (status === 'committed' && out !== amount) violations.push(`${gid}: committed, but ${out} moved`);
    if (status === 'aborted' && out !== 0) violations.push(`${gid}: aborted, but ${out} moved`);
    if ((answer === 'committed' || answer === 'aborted') && answer !== status) {
      violations.push(`${gid}: the client was told ${answer}, the store says ${status ?? 'nothing'}`);
    }
    moved += into;
  }
  const left = account(banks.payer.db);
  const arrived = account(banks.payee.db);
  if (left.balance + arrived.balance !== opening)
    violations.push(`money: ${left.balance} + ${arrived.balance} is not ${opening}`);
  if (left.held !== 0 || arrived.held !== 0) violations.push(`held: ${left.held} and ${arrived.held}`);
  return { transactions: told.size, moved, violations };
}

function netByGid(db: DatabaseSync): Map<string, number> {
  const rows = db.prepare('select gid, sum(delta) as net from entry group by gid').all();
  return new Map(rows.map((row) => [String(row['gid']), Number(row['net'])]));
}

function doubled(name: string, db: DatabaseSync): readonly string[] {
  const rows = db
    .prepare('select gid, branch, op, count(*) as n from entry group by gid, branch, op having n > 1')
    .all();
  return rows.map(
    (row) =>
      `${String(row['gid'])}: ${name} did ${String(row['branch'])}/${String(row['op'])} ${String(row['n'])} times`,
  );
}

function account(db: DatabaseSync): { readonly balance: number; readonly held: number } {
  const row = db.prepare('select balance, held from account').get();
  return { balance: Number(row?.['balance']), held: Number(row?.['held']) };
}
