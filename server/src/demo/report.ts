/** What the demo says at its end, for people and as JSON. */
import type { CheckReport } from './check.ts';
import { databaseNames, type DatabaseKind } from './databases/kinds.ts';
import { demoPatterns } from './order-stream.ts';
import { serviceNames, type ByService } from './service-names.ts';
import { faultsOf, restartsOf, settledOf, type Tally } from './tally.ts';

export interface DemoReport {
  /** Everything settled, nothing acknowledged was lost, and every invariant holds. */
  readonly ok: boolean;
  readonly seed: number;
  readonly seconds: number;
  readonly ordersPerSecond: number;
  readonly tally: Tally;
  /** Transactions that had not ended when the time to settle was over. */
  readonly unsettled: number;
  /** Orders that were acknowledged and that the coordinator no longer knows. */
  readonly lost: readonly string[];
  readonly check: CheckReport;
  readonly databases: ByService<DatabaseKind>;
  /** Where the databases are, and copies of those on servers. */
  readonly dir: string;
}

export function describeReport(report: DemoReport): string {
  const { tally, check, unsettled, lost } = report;
  const { totals } = check;
  const sums = demoPatterns.map((pattern) => {
    const { committed, aborted, neverBegan } = tally.patterns[pattern];
    // Its customer's process died before the coordinator heard of it, and the databases know nothing of it either.
    const rest = neverBegan === 0 ? '' : `, ${neverBegan} not begun`;
    return `${pattern} ${committed} committed, ${aborted} aborted${rest}`;
  });
  const facts = check.facts.flatMap((fact) => [
    `${fact.violations === 0 ? 'holds ' : 'BROKEN'}  ${fact.says}${fact.violations === 0 ? '' : `: ${fact.violations} times`}`,
    ...fact.examples.map((example) => `          ${example}`),
  ]);
  return [
    `${settledOf(tally)} orders in ${report.seconds.toFixed(1)} s (${report.ordersPerSecond.toFixed(0)}/s): ${sums.join('; ')}`,
    `${faultsOf(tally)} faults injected, ${restartsOf(tally)} services killed, coordinator killed ${tally.coordinatorKills} times${tally.connectionsCut === 0 ? '' : `, ${tally.connectionsCut} database connections cut`}`,
    '',
    `Checked in the databases of ${list(serviceNames.map((service) => `${service} (${databaseNames[report.databases[service]]})`))}:`,
    ...facts,
    `${unsettled === 0 ? 'holds ' : 'BROKEN'}  everything has settled${unsettled === 0 ? '' : `: ${unsettled} have not`}`,
    `${lost.length === 0 ? 'holds ' : 'BROKEN'}  nothing acknowledged was lost${lost.length === 0 ? '' : `: ${lost.slice(0, 5).join(', ')}`}`,
    '',
    `money  ${money(totals.openingCents)} at the start = ${money(totals.customersCents)} with customers + ${money(totals.takingsCents)} taken`,
    `goods  ${totals.soldPieces} of ${totals.openingPieces} pieces sold in ${totals.accepted} accepted orders; ${totals.cancelled} cancelled`,
    '',
    report.ok
      ? `OK: every order settled everywhere or nowhere (seed ${report.seed})`
      : `FAILED: see BROKEN above (seed ${report.seed}; the databases are in ${report.dir})`,
  ].join('\n');
}

function list(names: readonly string[]): string {
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

function money(cents: number): string {
  return (cents / 100).toLocaleString('en-GB', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}
