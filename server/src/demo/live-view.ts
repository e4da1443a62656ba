/** A run as it goes, whatever it is about: redrawn on a terminal, one line a second elsewhere. */

export interface LiveView {
  /** Draws the last state and leaves it standing. */
  stop(): void;
}

export interface Screen {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** What is to be seen. */
export interface Picture {
  /** What the pace counts. */
  done(): number;
  line(pace: Pace): string;
  table(pace: Pace): string;
}

export interface Pace {
  readonly seconds: number;
  /** Done per second, over the last few seconds. */
  readonly perSecond: number;
}

const redrawMs = 200;
const lineMs = 1_000;

export function showPicture(screen: Screen, picture: Picture): LiveView {
  const pace = createPace();
  const onTerminal = screen.isTTY === true;
  let lines = 0;
  const draw = (): void => {
    const now = pace(picture.done());
    if (!onTerminal) {
      screen.write(`${picture.line(now)}\n`);
      return;
    }
    const text = picture.table(now);
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

const paceWindowMs = 3_000;

function createPace(): (done: number) => Pace {
  const started = performance.now();
  let samples: { readonly at: number; readonly done: number }[] = [{ at: started, done: 0 }];
  return (done) => {
    const at = performance.now();
    samples = [...samples.filter((sample) => at - sample.at < paceWindowMs), { at, done }];
    const first = samples[0] ?? { at, done };
    const perSecond = at === first.at ? 0 : ((done - first.done) / (at - first.at)) * 1_000;
    return { seconds: (at - started) / 1_000, perSecond };
  };
}

const barWidth = 30;

export function bar(done: number, of: number | undefined): string {
  if (of === undefined) return '';
  const filled = Math.round((Math.min(done, of) / of) * barWidth);
  return `[${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${done}/${of}  `;
}
