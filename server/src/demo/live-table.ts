/** The run as it goes: redrawn on a terminal, one line a second elsewhere. */
import { faults } from './faults.ts';
import { serviceNames } from './service-names.ts';
import { demoPatterns } from './order-stream.ts';
import { faultsOf, inFlight, restartsOf, settledOf, submittedOf, type Tally } from './tally.ts';

export interface LiveView {
  /** Draws the last state and leaves it standing. */
  stop(): void;
}

interface Screen {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

interface Progress {
  readonly tally: Tally;
  /** Orders wanted; undefined: until Ctrl-C. */
  readonly orders: number | undefined;
  readonly phase: () => string;
}

const redrawMs = 200;
const lineMs = 1_000;

export function showLive(screen: Screen, progress: Progress): LiveView {
  const pace = createPace();
  const onTerminal = screen.isTTY === true;
  let lines = 0;
  const draw = (): void => {
    const now = pace(settledOf(progress.tally));
    if (!onTerminal) {
      screen.write(`${line(progress, now)}\n`);
      return;
    }
    const text = table(progress, now);
    // Back to the first line of what was drawn before, and away with it.
    const back = lines === 0 ? '' : `\u001B[${lines}A\u001B[0J`;
    screen.write(`${back}${text}\n`);
    lines = text.split('\n').length;
  };
  const timer = setInterval(draw, onTerminal ? redrawMs : lineMs);
  return {
    stop() {
      clearInterval(timer);
      draw();
    },
  };
}

interface Pace {
  readonly seconds: number;
  /** Orders settled per second, over the last few seconds. */
  readonly perSecond: number;
}

const paceWindowMs = 3_000;

function createPace(): (settled: number) => Pace {
  const started = performance.now();
  let samples: { readonly at: number; readonly settled: number }[] = [{ at: started, settled: 0 }];
  return (settled) => {
    const at = performance.now();
    samples = [...samples.filter((sample) => at - sample.at < paceWindowMs), { at, settled }];
    const first = samples[0] ?? { at, settled };
    const perSecond = at === first.at ? 0 : ((settled - first.settled) / (at - first.at)) * 1_000;
    return { seconds: (at - started) / 1_000, perSecond };
  };
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

export function table(progress: Progress, { seconds, perSecond }: Pace): string {
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

const barWidth = 30;

function bar(done: number, of: number | undefined): string {
  if (of === undefined) return '';
  const filled = Math.round((Math.min(done, of) / of) * barWidth);
  return `[${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${done}/${of}  `;
}
