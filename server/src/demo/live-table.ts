/** The orders as they settle. */
import { faults } from './faults.ts';
import { bar, showPicture, type LiveView, type Pace, type Screen } from './live-view.ts';
import { serviceNames } from './service-names.ts';
import { demoPatterns } from './order-stream.ts';
import { faultsOf, inFlight, restartsOf, settledOf, submittedOf, type Tally } from './tally.ts';

interface Progress {
  readonly tally: Tally;
  /** Orders wanted; undefined: until Ctrl-C. */
  readonly orders: number | undefined;
  readonly phase: () => string;
}

export function showLive(screen: Screen, progress: Progress): LiveView {
  return showPicture(screen, {
    done: () => settledOf(progress.tally),
    line: (pace) => line(progress, pace),
    table: (pace) => table(progress, pace),
  });
}

function line(progress: Progress, { seconds, perSecond }: Pace): string {
  const { tally, orders } = progress;
  const each = demoPatterns.map((pattern) => {
    const { committed, aborted, retries } = tally.patterns[pattern];
    return `${pattern} ${committed}+${aborted} (retries ${retries})`;
  });
  return [
    `${seconds.toFixed(0)} s`,
    `${settledOf(tally)}/${orders ?? submittedOf(tally)} settled`,
    `${perSecond.toFixed(0)}/s`,
    ...each,
    `faults ${faultsOf(tally)}`,
    `restarts ${restartsOf(tally)}`,
    ...(tally.coordinatorKills > 0 ? [`coordinator kills ${tally.coordinatorKills}`] : []),
    ...(tally.connectionsCut > 0 ? [`connections cut ${tally.connectionsCut}`] : []),
    progress.phase(),
  ].join(' | ');
}

function table(progress: Progress, { seconds, perSecond }: Pace): string {
  const { tally, orders } = progress;
  const rows = demoPatterns.map((pattern) => {
    const counts = tally.patterns[pattern];
    const { submitted, committed, aborted, neverBegan, retries } = counts;
    return [pattern, submitted, committed, aborted, neverBegan, inFlight(counts), retries];
  });
  const header = ['pattern', 'submitted', 'committed', 'aborted', 'not begun', 'in flight', 'retries'];
  const lines = [header, ...rows].map((cells) =>
    cells.map((cell, at) => (at === 0 ? String(cell).padEnd(8) : String(cell).padStart(10))).join(''),
  );
  const injected = faults.map((fault) => `${fault} ${tally.faults[fault]}`).join('  ');
  const restarts = serviceNames.map((service) => `${service} ${tally.restarts[service]}`).join('  ');
  return [
    ...lines,
    '',
    `faults    ${injected}`,
    `restarts  ${restarts}  coordinator ${tally.coordinatorKills}${tally.connectionsCut > 0 ? `  connections cut ${tally.connectionsCut}` : ''}`,
    `${bar(settledOf(tally), orders)}${seconds.toFixed(0)} s  ${perSecond.toFixed(0)} orders/s  ${progress.phase()}`,
  ].join('\n');
}
