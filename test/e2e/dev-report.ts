/** Runs the demo to its end, and reads what it says. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runSettle } from './settle-process.ts';

/** The parts of `DemoReport` that these tests look at. */
export interface Report {
  readonly ok: boolean;
  readonly unsettled: number;
  readonly lost: readonly string[];
  readonly tally: {
    readonly patterns: Readonly<
      Record<string, Record<'submitted' | 'committed' | 'aborted' | 'neverBegan', number>>
    >;
    readonly faults: Readonly<Record<string, number>>;
    readonly restarts: Readonly<Record<string, number>>;
    readonly coordinatorKills: number;
    readonly connectionsCut: number;
  };
  readonly databases: Readonly<Record<string, string>>;
  readonly check: { readonly facts: readonly { readonly name: string; readonly violations: number }[] };
}

const once = ['dev', '--once', '--port=0', '--json'];

export async function report(
  ...args: readonly string[]
): Promise<{ readonly code: number | string; readonly report: Report }> {
  // Of its own: the databases of a run that failed are kept for whoever looks into it.
  const dir = mkdtempSync(join(tmpdir(), 'settle-dev-test-'));
  const { code, stdout, stderr } = await runSettle([...once, `--dir=${dir}`, ...args]);
  rmSync(dir, { recursive: true, force: true });
  if (stdout === '') throw new Error(`there is no report: ${stderr}`);
  return { code, report: JSON.parse(stdout) as Report };
}
