/**
 * Which tests say that they cover which case of RELIABILITY.md.
 *
 * A test says so in its title, `… (A29)`, or in a comment right above it, `// covers A4, C2`. It may stand above a
 * group, a test, a fact of a contract suite or a row of a table of tests; the first text after it is the title.
 *
 * Mechanisms number their invariants too. In a title, `(D1)` to `(D9)` are the engine's durability rules, and `(F1)` is
 * an invariant where a file of the same folder opens with one of that name; only a comment can then mean the case.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface Mark {
  readonly id: string;
  /** From the root of the repository, with slashes. */
  readonly file: string;
  readonly title: string;
}

/** Folders whose tests run with `npm test`. */
const folders = ['lib/src', 'server/src', 'sim', 'bench', 'examples', 'test'];

export function marksUnder(root: string): readonly Mark[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((file) => `${folder}/${file.replaceAll('\\', '/')}`)
      .filter((file) => /(\.test|\/contract)\.ts$/.test(file) && !/node_modules|\/dist\//.test(file))
      .filter((file) => file !== 'test/reliability.test.ts')
      .flatMap((file) =>
        marksIn(file, readFileSync(join(root, file), 'utf8'), invariantsIn(join(root, dirname(file)))),
      ),
  );
}

/** The numbers under which the files of a folder list their invariants. */
function invariantsIn(folder: string): ReadonlySet<string> {
  const sources = readdirSync(folder)
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .map((file) => readFileSync(join(folder, file), 'utf8'));
  return new Set(
    sources.flatMap((source) => [...source.matchAll(/^ \* - ([A-H]\d+) /gm)].map(([, name = '']) => name)),
  );
}

/** Throws for a mark that stands above nothing, or above a test that does not run. */
export function marksIn(
  file: string,
  source: string,
  invariants: ReadonlySet<string> = new Set(),
): readonly Mark[] {
  const inTitles = fromTitles(file, source).filter(({ id }) => !invariants.has(id));
  return [...inTitles, ...fromComments(file, source)];
}

function fromTitles(file: string, source: string): readonly Mark[] {
  return [...source.matchAll(/\b(?:describe|it|test)\b(?!\s*:)[\w.]*\s*(?=[(<])/g)].flatMap(
    ({ index, 0: call }) => {
      const title = titleAfter(source, index + call.length, call.includes('.each'));
      const named = /\(((?:[A-CE-H]\d+|D\d\d)(?:, (?:[A-H]\d+))*)\)$/.exec(title ?? '')?.[1];
      if (title === undefined || named === undefined) return [];
      mustRun(file, title, call);
      return named.split(', ').map((id) => ({ id, file, title }));
    },
  );
}

function fromComments(file: string, source: string): readonly Mark[] {
  return [...source.matchAll(/^[ \t]*\/\/ covers (.*)\n/gm)].flatMap(({ index, 0: comment, 1: ids = '' }) => {
    const at = index + comment.length;
    const [call = ''] = /^\s*(?:describe|it|test)\b[\w.]*\s*(?=[(<])/.exec(source.slice(at)) ?? [];
    const title = titleAfter(source, at + call.length, call.includes('.each'));
    if (title === undefined) throw new Error(`${file}: nothing stands below "covers ${ids}"`);
    mustRun(file, title, call);
    return ids.split(', ').map((id) => ({ id, file, title }));
  });
}

function mustRun(file: string, title: string, call: string): void {
  if (/\.(?:skip|todo|only|fails)/.test(call))
    throw new Error(`${file}: "${title}" covers a case and does not run`);
}

/** The first text from here; of `it.each(rows)('title'` the one behind the rows. */
function titleAfter(source: string, from: number, isEach: boolean): string | undefined {
  let at = from;
  if (isEach) {
    at = source.indexOf('(', from);
    for (let depth = 0; at < source.length; at++) {
      const quoted = textAt(source, at);
      if (quoted !== undefined) at += quoted.length - 1;
      else if ('([{'.includes(source[at] ?? '')) depth++;
      else if (')]}'.includes(source[at] ?? '') && --depth === 0) break;
    }
  }
  while (at < source.length && textAt(source, at) === undefined) at++;
  return textAt(source, at)?.slice(1, -1).replaceAll(/\\(.)/g, '$1');
}

/** The text in quotes that begins here, quotes included. */
function textAt(source: string, at: number): string | undefined {
  if (!'\'"`'.includes(source[at] ?? ' ')) return undefined;
  return /^(['"`])(?:\\.|(?!\1)[^\\])*\1/s.exec(source.slice(at, at + 5_000))?.[0];
}
