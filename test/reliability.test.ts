// RELIABILITY.md and the tests say the same, both ways: it names no test that is not there, and forgets none.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { crashPoints } from '../lib/src/util/crash-point.ts';
import { faultNames } from '../sim/src/faults.ts';
import { marksIn, marksUnder, type Mark } from './covers.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const text = readFileSync(join(root, 'RELIABILITY.md'), 'utf8');

/** Every case there is: how many of each family. R are the answers of a participant, as they are classified. */
const families = { A: 34, B: 15, C: 20, D: 21, E: 9, F: 9, G: 6, H: 4, R: 8 };
const cases = Object.entries(families).flatMap(([family, count]) =>
  Array.from({ length: count }, (_, i) => `${family}${i + 1}`),
);

interface Row {
  readonly id: string;
  readonly words: string;
  readonly tests: readonly { readonly name: string; readonly file: string; readonly title: string }[];
  /** Of the simulator. */
  readonly faults: readonly string[];
  /** At which the coordinator is killed. */
  readonly points: readonly string[];
  /** What is missing. */
  readonly notYet: string | undefined;
}

const rows = [...text.matchAll(/^\| ([A-Z]\d+) \| (.+) \| (.+) \|$/gm)].map(
  ([, id = '', words = '', cell = '']): Row => {
    const entries = cell.split('<br>');
    const named = (what: RegExp): readonly string[] =>
      entries
        .flatMap((entry) => (what.test(entry) ? [...entry.matchAll(/`([^`]+)`/g)] : []))
        .map(([, name = '']) => name);
    const tests = entries.flatMap((entry) => {
      const [, name = '', file = '', title = ''] = /^\[([^\]]+)\]\(([^)]+)\) (.+)$/.exec(entry) ?? [];
      return file === '' ? [] : [{ name, file, title: title.replaceAll(/\\(.)/g, '$1') }];
    });
    const unread = entries.filter(
      (entry) => !/^(?:\[|simulator: `|killed at: `|\*\*not yet\*\*: )/.test(entry),
    );
    if (unread.length > 0) throw new Error(`${id} has an entry that nobody can read: ${unread.join()}`);
    const notYet = entries.flatMap((entry) => /^\*\*not yet\*\*: (.+)$/.exec(entry)?.[1] ?? [])[0];
    return { id, words, tests, faults: named(/^simulator: /), points: named(/^killed at: /), notYet };
  },
);

function isTouched({ tests, faults, points }: Row): boolean {
  return tests.length + faults.length + points.length > 0;
}

const spelled = ({ id, file, title }: Mark): string => `${id} ${file}: ${title}`;

describe('the table of cases', () => {
  test('has every case once, in their order', () => {
    expect(rows.map(({ id }) => id)).toEqual(cases);
  });

  test('says of every case what it is, and what covers it or what is missing', () => {
    const empty = rows.filter((row) => row.words.length < 8 || (!isTouched(row) && row.notYet === undefined));
    expect(empty.map(({ id }) => id)).toEqual([]);
  });

  test('names exactly the tests that say they cover a case', () => {
    const named = rows.flatMap(({ id, tests }) => tests.map((at) => spelled({ id, ...at })));
    const marked = marksUnder(root).map(spelled);
    expect(
      named.filter((line) => !marked.includes(line)),
      'in RELIABILITY.md, but no test says so',
    ).toEqual([]);
    expect(
      marked.filter((line) => !named.includes(line)),
      'a test says so, but RELIABILITY.md does not',
    ).toEqual([]);
    expect(new Set(named).size).toBe(named.length);
  });

  test('names every fault of the simulator, and none that it has not', () => {
    const named = new Set(rows.flatMap(({ faults }) => faults));
    expect([...named].toSorted()).toEqual(faultNames.toSorted());
  });

  test('names only points at which a coordinator is killed', () => {
    const known: readonly string[] = crashPoints;
    expect(rows.flatMap(({ points }) => points).filter((point) => !known.includes(point))).toEqual([]);
  });

  test('calls every file by its own name', () => {
    for (const { name, file } of rows.flatMap(({ tests }) => tests)) expect(file).toContain(`/${name}.`);
  });

  test('is counted right', () => {
    const covered = rows.filter(({ notYet }) => notYet === undefined).length;
    const partly = rows.filter((row) => row.notYet !== undefined && isTouched(row)).length;
    expect(text).toContain(
      `Of ${rows.length} cases ${covered} are covered, ${partly} in part, ${rows.length - covered - partly} not yet.`,
    );
  });
});

describe('the figures', () => {
  const figures = [...text.matchAll(/^\| (?![A-Z]\d+ \|)(.+) \| (.+) \| (.+) \|$/gm)]
    .map(([, what = '', figure = '', command = '']) => ({ what, figure, command }))
    .filter(
      ({ figure }) => figure !== 'figure' && !/^(?:case|-+)$/.test(figure) && figure !== 'in a few words',
    );
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };

  test('each stand beside the command that makes them again', () => {
    expect(figures.length).toBeGreaterThan(8);
    const bare = figures.filter(
      ({ figure, command }) =>
        figure !== 'not run yet' && !/`(?:\w+=\S+ )?npm (?:test|run [\w:]+)/.test(command),
    );
    expect(bare).toEqual([]);
  });

  test('come from commands that exist', () => {
    for (const { figure, command } of figures) {
      if (figure === 'not run yet') continue;
      for (const [, script = ''] of command.matchAll(/npm run ([\w:]+)/g))
        expect(Object.keys(scripts)).toContain(script);
      for (const [, file = ''] of command.matchAll(/((?:lib|test|server|sim|bench)\/[\w./-]+)/g)) {
        const found = existsSync(join(root, file)) || existsSync(join(root, `${file}.test.ts`));
        expect(found, `${file} of ${command}`).toBe(true);
      }
    }
  });

  test('stand in their table and nowhere else', () => {
    const prose = text.split('\n').filter((line) => !line.startsWith('|'));
    expect(
      prose.filter((line) => /\d[\d,]* (?:seeds|kills|transactions|worlds|states|planted bugs)\b/.test(line)),
    ).toEqual([]);
  });
});

/** The marks of a made-up file. */
function mark(...lines: readonly string[]): readonly string[] {
  return marksIn('x', lines.join('\n')).map(({ id, title }) => `${id} ${title}`);
}

describe('the marks in tests', () => {
  test.each([
    ['a title', ["it('sleeps (A29, B1)', () => {"], ['A29 sleeps (A29, B1)', 'B1 sleeps (A29, B1)']],
    ['a comment', ['// covers A1, D4', "it('is quiet', async () => {"], ['A1 is quiet', 'D4 is quiet']],
    ['a fact', ['// covers C5', "  async 'ends in time'(world) {"], ['C5 ends in time']],
    ['a row', ['  // covers C4', "  ['200 with HTML', answer()],"], ['C4 200 with HTML']],
    [
      'a table of tests',
      ['// covers B2', 'it.each([[\'a\', "b)"], (1)] as const)(', "  'comes (%s)',"],
      ['B2 comes (%s)'],
    ],
    ['a group', ['// covers F1', "describe('a group', () => {", "  it('one', () => {"], ['F1 a group']],
    ['a rule of the engine', ["it('keeps time (D5)', () => {"], []],
    ['no case', ["it('keeps up (well)', () => {"], []],
  ])('are read from %s', (_, lines, expected) => {
    expect(mark(...lines)).toEqual(expected);
  });

  test('above nothing, or above what does not run, are refused', () => {
    expect(() => mark('// covers A1', '}')).toThrow('nothing stands below');
    expect(() => mark('// covers A1', "it.skip('x', () => {")).toThrow('does not run');
    expect(() => mark("test.todo('x (A1)')")).toThrow('does not run');
  });
});
