// Runs vitest and counts its tests from the report it writes.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runTool } from './child.mjs';
import { cache } from './paths.mjs';
import { heading } from './tally.mjs';

const report = join(cache, 'vitest.json');

export async function runTests(tally, name, args) {
  heading(`tests: ${name}`);
  mkdirSync(cache, { recursive: true });
  rmSync(report, { force: true });
  const code = await runTool('vitest', [
    'run',
    ...args,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  const counts = existsSync(report) ? count(JSON.parse(readFileSync(report, 'utf8'))) : nothing;
  tally.addTests(counts, `tests: ${name}`);
  // vitest also fails for a coverage threshold, an error outside of any test, or no test files at all.
  if (code !== 0 && counts.failed === 0)
    tally.fail(`tests: ${name} (vitest ended with exit code ${code} though no test failed)`);
}

const nothing = { passed: 0, failed: 0, skipped: 0 };

function count({ testResults }) {
  const counts = { ...nothing };
  for (const file of testResults) {
    // A file that cannot even be loaded has no tests to report: it counts as one failed.
    if (file.status === 'failed' && !file.assertionResults.some(isFailed)) counts.failed += 1;
    for (const test of file.assertionResults) {
      if (isFailed(test)) counts.failed += 1;
      else if (test.status === 'passed') counts.passed += 1;
      else counts.skipped += 1;
    }
  }
  return counts;
}

function isFailed(test) {
  return test.status === 'failed';
}
