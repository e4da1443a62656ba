/** One option: where its value may come from, and how text or JSON becomes a value. */
export interface Option<T> {
  readonly kind: 'text' | 'integer' | 'switch' | 'list' | 'choice';
  readonly default: T;
  /** One line for `--help` and the documentation; names the unit. */
  readonly doc: string;
  /** Shown as `***`. */
  readonly secret: boolean;
  /** What a value looks like, for `--help`. */
  readonly hint: string;
  /** From a flag, a variable (text) or the file (any JSON). */
  readonly parse: (input: unknown) => Parsed<T>;
}

export type Parsed<T> =
  | { readonly kind: 'value'; readonly value: T }
  /** What it must be, to follow "must be". */
  | { readonly kind: 'wrong'; readonly must: string };

export function textOption(options: {
  readonly default: string;
  readonly hint: string;
  readonly doc: string;
}): Option<string> {
  return { kind: 'text', secret: false, parse: parseText, ...options };
}

export function integerOption(options: {
  readonly default: number;
  readonly min: number;
  readonly max: number;
  readonly doc: string;
}): Option<number> {
  const { min, max, ...rest } = options;
  const parse = (input: unknown): Parsed<number> => {
    const value = typeof input === 'string' && /^\d+$/.test(input.trim()) ? Number(input) : input;
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
      ? { kind: 'value', value }
      : { kind: 'wrong', must: `a whole number from ${min} to ${max}` };
  };
  return { kind: 'integer', secret: false, hint: 'number', parse, ...rest };
}

export function switchOption(options: { readonly default: boolean; readonly doc: string }): Option<boolean> {
  return { kind: 'switch', secret: false, hint: 'true|false', parse: parseSwitch, ...options };
}

export function choiceOption<T extends string>(options: {
  readonly choices: readonly T[];
  readonly default: T;
  readonly doc: string;
}): Option<T> {
  const { choices, ...rest } = options;
  // One that is empty stands for none, and is not written.
  const named = choices.filter((choice) => choice !== '');
  const parse = (input: unknown): Parsed<T> => {
    const value = choices.find((choice) => choice === input);
    return value === undefined
      ? { kind: 'wrong', must: `one of ${named.join(', ')}` }
      : { kind: 'value', value };
  };
  return { kind: 'choice', secret: false, hint: named.join('|'), parse, ...rest };
}

function parseText(input: unknown): Parsed<string> {
  return typeof input === 'string' && input.trim() !== ''
    ? { kind: 'value', value: input.trim() }
    : { kind: 'wrong', must: 'a text that is not empty' };
}

function parseSwitch(input: unknown): Parsed<boolean> {
  if (input === true || input === 'true' || input === '1') return { kind: 'value', value: true };
  if (input === false || input === 'false' || input === '0') return { kind: 'value', value: false };
  return { kind: 'wrong', must: 'true or false' };
}

/** Text: separated by commas, or the flag repeated. JSON: an array. */
export function listOption<T>(options: {
  readonly default: readonly T[];
  readonly hint: string;
  readonly doc: string;
  readonly secret?: true;
  readonly item: (input: unknown) => Parsed<T>;
}): Option<readonly T[]> {
  const { item, secret, ...rest } = options;
  const parse = (input: unknown): Parsed<readonly T[]> => {
    const parts =
      typeof input === 'string'
        ? input
            .split(',')
            .map((part) => part.trim())
            .filter(Boolean)
        : input;
    if (!Array.isArray(parts)) return { kind: 'wrong', must: 'a list' };
    const values: T[] = [];
    for (const part of parts) {
      const parsed = item(part);
      if (parsed.kind === 'wrong')
        return { kind: 'wrong', must: `a list in which every entry is ${parsed.must}` };
      values.push(parsed.value);
    }
    return { kind: 'value', value: values };
  };
  return { kind: 'list', secret: secret ?? false, parse, ...rest };
}

export function textItem(
  must: string,
  accepts: (text: string) => boolean,
): (input: unknown) => Parsed<string> {
  return (input) =>
    typeof input === 'string' && accepts(input) ? { kind: 'value', value: input } : { kind: 'wrong', must };
}

/** The default as one would write it in a flag. */
export function defaultText(option: Pick<Option<unknown>, 'default'>): string {
  return Array.isArray(option.default) ? option.default.join(',') : String(option.default);
}

/** The name of those known that is closest, when it is close enough to be what was meant. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (best === undefined || distance < best.distance) best = { name: candidate, distance };
  }
  return best !== undefined && best.distance <= Math.max(2, Math.floor(name.length / 2))
    ? best.name
    : undefined;
}

/** Levenshtein, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
