import { describe, expect, it } from 'vitest';
import { checkers } from './checkers/index.ts';
import { mustMeet } from './coverage.ts';
import { faultNames } from './faults.ts';
import { forbidGlobals } from './guard.ts';
import { runSeed } from './run.ts';
import { shrink } from './shrink.ts';
import { BadInput, parseRegressions, parseSpec, printSpec, traceFormat } from './spec-text.ts';
import { story } from './story.ts';
import { scenarioOf } from './swarm.ts';
import { Network } from './world/network.ts';
import { Process } from './world/process.ts';
import { stream } from './world/random.ts';
import { Recorder } from './world/recorder.ts';
import { Schedule } from './world/schedule.ts';
import { TraceHash } from './world/trace-hash.ts';
import { calm } from './world/weather.ts';

const seeds = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

/** Fails as soon as there are two transactions. */
function runForOne(spec: { readonly seed: number }): ReturnType<typeof runSeed> {
  return runSeed(spec, {
    checkers: [
      {
        id: 'I1',
        title: 'there is one transaction at most',
        check: ({ final }) => (final.rows.length > 1 ? [{ invariant: 'I1', what: 'two' }] : []),
      },
    ],
  });
}

function world() {
  const hash = new TraceHash();
  const schedule = new Schedule(hash);
  return { hash, schedule, recorder: new Recorder(schedule, hash), weather: calm() };
}

describe('a run', () => {
  it('is the same run whenever its seed is run', async () => {
    for (const seed of seeds(1, 10)) {
      const [first, second] = [
        await runSeed({ seed }, { checkers: [] }),
        await runSeed({ seed }, { checkers: [] }),
      ];
      expect(second.hash, `seed ${seed}`).toBe(first.hash);
    }
  });

  it('is another one for another seed', async () => {
    const hashes = await Promise.all(seeds(1, 1).map((seed) => runSeed({ seed }, { checkers: [] })));
    const other = await runSeed({ seed: 2 }, { checkers: [] });
    expect(hashes.map(({ hash }) => hash)).not.toContain(other.hash);
  });

  it('keeps every invariant over a few seeds', async () => {
    for (const seed of seeds(500_000, 40)) {
      const { violations } = await runSeed({ seed }, { checkers });
      expect(violations, `seed ${seed}`).toEqual([]);
    }
  });

  it('has no fault in about a tenth of the seeds, and one in another', () => {
    const kinds = seeds(1, 2_000).map((seed) => scenarioOf({ seed }).kind);
    const share = (kind: string): number => kinds.filter((one) => one === kind).length / kinds.length;
    expect(share('no faults')).toBeCloseTo(0.1, 1);
    expect(share('one fault')).toBeCloseTo(0.1, 1);
  });

  it('leaves the workload as it is when a fault is cut', async () => {
    const seed = seeds(1, 100).find((one) => scenarioOf({ seed: one }).faults.size > 3) ?? 0;
    const whole = await runSeed({ seed }, { checkers: [] });
    const calmed = await runSeed({ seed, mask: [] }, { checkers: [] });
    const plans = ({ history }: typeof whole): readonly string[] =>
      [...history.intents.values()].map(({ plan }) => JSON.stringify(plan));
    expect(plans(calmed)).toEqual(plans(whole));
  });

  it('finds that a store which forgets what it acknowledged breaks promises', async () => {
    const broken = new Set<string>();
    for (const seed of seeds(1, 300)) {
      if (!scenarioOf({ seed }).faults.has('store-down')) continue;
      const { violations } = await runSeed({ seed }, { checkers, lossyFailover: true });
      for (const { invariant } of violations) broken.add(invariant);
    }
    expect(broken).toContain('I4');
  });

  it('can be told as a story', async () => {
    const { history } = await runSeed({ seed: 1 }, { checkers: [] });
    const gid = history.final.rows[0]?.gid ?? '';
    expect(story(history, gid).join('\n')).toMatch(
      new RegExp(`insert of ${gid} by coordinator-\\d#1 is written`),
    );
  });

  it('fails when it touches what is real', () => {
    const allow = forbidGlobals();
    try {
      expect(() => Date.now()).toThrow('Date.now was used during a simulation');
      expect(() => new Date()).toThrow('Date was used');
      expect(() => Math.random()).toThrow('Math.random was used');
      expect(() => setTimeout(() => undefined, 1)).toThrow('setTimeout was used');
      expect(() => performance.now()).toThrow('performance.now was used');
      expect(() => crypto.randomUUID()).toThrow('crypto.randomUUID was used');
      expect(() => void fetch('http://127.0.0.1')).toThrow('fetch was used');
    } finally {
      allow();
    }
    expect(Date.now()).toBeGreaterThan(0);
  });

  it('is cut down to what it takes to fail', async () => {
    const seed = seeds(1, 100).find((one) => scenarioOf({ seed: one }).faults.size > 3) ?? 0;
    const smallest = await shrink(await runForOne({ seed }), runForOne);
    expect(smallest.scenario.faults.size).toBe(0);
    expect(smallest.scenario.transactions).toBeLessThanOrEqual(3);
    expect(smallest.violations).toHaveLength(1);
  });
});

describe('a seed in words', () => {
  it.each([
    '--seed 7',
    '--seed 7 --mask net-loss,operator --transactions 3 --safety 4000',
    '--seed 0 --mask none',
  ])('is read as it was printed: %s', (text) => expect(printSpec(parseSpec(text.split(' ')))).toBe(text));

  it.each([
    ['--seed seven', '"seven" is no seed'],
    ['--seed -1', '"-1" is no seed'],
    ['--seed 99999999999999999', 'is no seed'],
    ['--seed 7 --mask rain', 'no fault is called "rain"; there are net-loss'],
    ['--transactions 3', 'there is no --seed'],
    ['--seed', 'expected --seed N'],
    ['--seed 7 --transactions few', '--transactions is "few"'],
  ])('is refused with a reason: %s', (text, reason) => {
    expect(() => parseSpec(text.split(' '))).toThrow(BadInput);
    expect(() => parseSpec(text.split(' '))).toThrow(reason);
  });

  it('of an older trace format is refused', () => {
    expect(() => parseRegressions(`trace format ${traceFormat - 1}\n--seed 7`)).toThrow(
      'its seeds mean other runs now',
    );
    expect(parseRegressions(`# why\ntrace format ${traceFormat}\n--seed 7 # lost`)).toEqual([{ seed: 7 }]);
  });
});

describe('what a full run must meet', () => {
  it('is named once each', () => {
    expect(new Set(mustMeet).size).toBe(mustMeet.length);
  });

  it('holds every class of faults', () => {
    // Those that only set a probability show where they strike.
    const strikesAs: Partial<Record<(typeof faultNames)[number], string>> = {
      'net-loss': 'network: lost',
      'net-duplicate': 'network: duplicated',
      'net-delay': 'network: slow',
      'store-lost-reply': 'store: lost after it was applied',
      'store-conflict': 'store: conflict',
      'store-late': 'store: applied after it was given up',
      'store-stall': 'store: stalled',
      'participant-gone': 'engine: stuck',
      'clock-pace': 'lease: renewed',
      'tight-limits': 'answer: overloaded',
    };
    const missing = faultNames.filter((name) => !mustMeet.includes(strikesAs[name] ?? `fault: ${name}`));
    expect(missing).toEqual([]);
  });
});

describe('the world', () => {
  it('runs what is to happen in the order of time, then of asking, and lets promises settle in between', async () => {
    const { schedule } = world();
    const seen: string[] = [];
    schedule.after(5, () => seen.push('c'));
    schedule.after(1, () => {
      seen.push('a');
      void Promise.resolve()
        .then(() => undefined)
        .then(() => seen.push('after a'));
    });
    schedule.after(1, () => seen.push('b'));
    const cancel = schedule.after(2, () => seen.push('never'));
    cancel();
    await schedule.run();
    expect(seen).toEqual(['a', 'after a', 'b', 'c']);
    expect(schedule.now).toBe(5);
  });

  it('ends a run that stands still', async () => {
    const { schedule } = world();
    const again = (): void => void schedule.after(0, again);
    again();
    await expect(schedule.run()).rejects.toThrow('and no end');
  });

  it('runs nothing of a process that is dead, and everything late of one that was paused', async () => {
    const { schedule } = world();
    const seen: string[] = [];
    const [dead, paused] = [new Process(schedule, 'dead'), new Process(schedule, 'paused')];
    dead.clock.schedule(1, () => seen.push('dead'));
    paused.clock.schedule(1, () => seen.push(`paused at ${schedule.now}`));
    dead.crash();
    paused.pause();
    schedule.after(10, () => paused.resume());
    await schedule.run();
    expect(seen).toEqual(['paused at 10']);
    expect(paused.timers).toBe(0);
  });

  it('loses, doubles and holds messages as the weather says', async () => {
    const { schedule, recorder, weather } = world();
    const network = new Network(1, schedule, weather, recorder);
    let arrived = 0;
    const send = (): void => network.send('a', 'b', () => arrived++);
    weather.duplicate = 1;
    send();
    await schedule.run();
    expect(arrived).toBe(2);
    weather.duplicate = 0;
    weather.loss = 1;
    send();
    weather.loss = 0;
    const mend = network.cut('a', 'b');
    send();
    mend();
    const clear = network.clog('a', 'b');
    send();
    await schedule.run();
    expect(arrived).toBe(2);
    clear();
    await schedule.run();
    expect(arrived).toBe(3);
  });

  it('draws from one stream without disturbing another', () => {
    const [plain, disturbed] = [stream(7, 'a'), stream(7, 'a')];
    const other = stream(7, 'b');
    const draws = seeds(0, 5).map(() => plain.next());
    expect(
      seeds(0, 5).map(() => {
        other.next();
        return disturbed.next();
      }),
    ).toEqual(draws);
    expect(stream(8, 'a').next()).not.toBe(draws[0]);
  });
});
