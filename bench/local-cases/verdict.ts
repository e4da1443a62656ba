/** What is said of one case under one peer; it is computed from the rows stored and from what the caller was told. */
export type Verdict =
  | { readonly kind: 'right'; readonly detail: string }
  /** The caller was told one thing and another one is stored, or he was told nothing. */
  | { readonly kind: 'wrong'; readonly detail: string }
  /** What the caller was told is what is stored, and yet it is not what he had a right to. */
  | { readonly kind: 'fails'; readonly detail: string }
  | { readonly kind: 'hangs'; readonly detail: string }
  | { readonly kind: 'n/a'; readonly detail: string };

export const right = (detail: string): Verdict => ({ kind: 'right', detail });
export const wrong = (detail: string): Verdict => ({ kind: 'wrong', detail });
export const fails = (detail: string): Verdict => ({ kind: 'fails', detail });
export const hangs = (detail: string): Verdict => ({ kind: 'hangs', detail });
export const notApplicable = (detail: string): Verdict => ({ kind: 'n/a', detail });

/** How a piece of work ended for whoever called it. */
export type Told = { readonly kind: 'returned' } | { readonly kind: 'threw'; readonly error: unknown };

export async function told(work: Promise<unknown>): Promise<Told> {
  try {
    await work;
    return { kind: 'returned' };
  } catch (error) {
    return { kind: 'threw', error };
  }
}

export function inWords(what: Told): string {
  return what.kind === 'returned' ? 'returned' : `threw “${messageOf(what.error)}”`;
}

export function listed(rows: readonly string[]): string {
  return rows.length === 0 ? 'nothing' : rows.join(', ');
}

const messageMax = 160;

/** One line, whatever the error brings along, and without the folder this repository lies in. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const line = text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/file:\S+\/(?=bench\/)/g, '')
    .trim();
  return line.length > messageMax ? `${line.slice(0, messageMax)}…` : line;
}
