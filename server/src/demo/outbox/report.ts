/** What the demo of the outbox says at its end, for people and as JSON. */
import type { OutboxCheck } from './check.ts';
import { fileNames } from './databases.ts';
import type { OutboxTally } from './tally.ts';

export interface OutboxReport {
  /** Every fact holds. */
  readonly ok: boolean;
  readonly seed: number;
  readonly seconds: number;
  readonly rolledBack: number;
  readonly tally: Omit<OutboxTally, 'told' | 'rolledBack'>;
  readonly check: OutboxCheck;
  /** Where the databases are. */
  readonly dir: string;
}

export function describeOutboxReport(report: OutboxReport): string {
  const { ok, seed, seconds, rolledBack, tally, check, dir } = report;
  const { duplicates, lostAnswers, turnedAway, kills } = tally;
  const facts = check.facts.flatMap(({ says, violations, examples }) => [
    `${violations === 0 ? 'holds ' : 'BROKEN'}  ${says}${violations === 0 ? '' : `: ${violations} violations`}`,
    ...examples.map((example) => `          ${example}`),
  ]);
  return [
    `${check.orders} orders of ${check.customers} customers committed, ${rolledBack} rolled back, ${check.invoices} invoices, in ${seconds.toFixed(1)} s`,
    `killed (SIGKILL) and started again: writer ${kills.writer}, relay ${kills.relay}, consumer ${kills.consumer} times`,
    `${lostAnswers} answers of the consumer lost, ${turnedAway} deliveries turned away; duplicates absorbed: ${duplicates}`,
    '',
    `Checked in ${fileNames.shop} (orders, outbox) and ${fileNames.billing} (invoices, inbox):`,
    ...facts,
    '',
    ok
      ? `OK: every committed order took effect exactly once (seed ${seed})`
      : `FAILED: see BROKEN above (seed ${seed}; the databases are in ${dir})`,
  ].join('\n');
}
