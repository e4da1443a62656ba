// Counts what passed, failed and was skipped, and says so in one plain line at the very end.
import { Failure } from './failure.mjs';

export class Tally {
  passed = 0;
  failed = 0;
  skipped = 0;
  tests = 0;
  failures = [];

  /** Runs one check, a function that gives an exit code; it counts as one passed or one failed. */
  async check(name, body) {
    heading(name);
    const started = performance.now();
    const code = await body().catch((error) => {
      console.error(error instanceof Failure ? error.message : error);
      return 1;
    });
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    console.log(`${name}: ${code === 0 ? 'passed' : `failed with exit code ${code}`} (${seconds} s)`);
    if (code === 0) this.passed += 1;
    else this.fail(name);
  }

  fail(name) {
    this.failed += 1;
    this.failures.push(name);
  }

  addTests({ passed, failed, skipped }, name) {
    this.passed += passed;
    this.failed += failed;
    this.skipped += skipped;
    this.tests += passed + failed;
    if (failed > 0) this.failures.push(name);
  }

  /** Prints the closing line and gives the exit code; a run without a single test is no success. */
  close() {
    if (this.tests === 0) this.fail('no test ran');
    if (this.failures.length > 0) console.log(`\nfailed: ${this.failures.join(' · ')}`);
    console.log(`\n${this.passed} passed, ${this.failed} failed, ${this.skipped} skipped`);
    return this.failed === 0 ? 0 : 1;
  }
}

export function heading(name) {
  console.log(`\n== ${name}`);
}
