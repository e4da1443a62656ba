import { cases } from './cases.ts';
import type { Verdict } from './verdict.ts';

export interface Cell {
  readonly name: string;
  /** From 1. */
  readonly number: number;
  readonly verdict: Verdict;
}

interface Axes {
  readonly names: readonly string[];
  readonly numbers: readonly number[];
}

/** The words of the verdicts, a row for each case, in Markdown. */
export function tableOf(cells: readonly Cell[], { names, numbers }: Axes): string {
  const rows = numbers.map((number) => [
    `${number}. ${cases[number - 1]?.title}`,
    ...names.map((name) => verdictOf(cells, name, number)?.kind ?? ''),
  ]);
  return [['case', ...names], ['', ...names].map(() => '---'), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');
}

/** What was seen in every case, in Markdown; peers of which the same was seen share a line. */
export function detailsOf(cells: readonly Cell[], { names, numbers }: Axes): string {
  return numbers
    .map((number) => {
      const lines = new Map<string, string[]>();
      for (const name of names) {
        const verdict = verdictOf(cells, name, number);
        if (verdict === undefined || verdict.kind === 'n/a') continue;
        const line = `**${verdict.kind}**: ${verdict.detail}`;
        lines.set(line, [...(lines.get(line) ?? []), name]);
      }
      const list = [...lines].map(([line, who]) => `- ${who.join(', ')}: ${line}`);
      return [
        `${number}. ${cases[number - 1]?.title}. Wanted: ${cases[number - 1]?.want}.`,
        '',
        ...list,
      ].join('\n');
    })
    .join('\n\n');
}

function verdictOf(cells: readonly Cell[], name: string, number: number): Verdict | undefined {
  return cells.find((cell) => cell.name === name && cell.number === number)?.verdict;
}
