// What only tests may do is not in what is published.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { withoutTestCode } from '../scripts/lib/test-code.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'lib/dist');

describe('taking out test code', () => {
  test('keeps every line and column where it was', () => {
    const code = [
      "import { planted } from '../util/planted-bug.js';",
      "import { crashPoint } from '../util/crash-point.js';",
      'function f(list) {',
      "    crashPoint('sqlite.commit', 'before');",
      "    if (planted('acknowledge-before-sync')) return 1;",
      "    return list.length > 0 || planted('batch-by-timer') ? 2 : 3;",
      '}',
    ].join('\n');
    const stripped = withoutTestCode(code);
    expect(stripped.split('\n').map((line) => line.length)).toEqual(
      code.split('\n').map((line) => line.length),
    );
    expect(stripped.replace(/ +/g, ' ').split('\n')).toEqual([
      ' ',
      ' ',
      'function f(list) {',
      ' ',
      ' if (false ) return 1;',
      ' return list.length > 0 || false ? 2 : 3;',
      '}',
    ]);
  });

  test.each([
    'const bug = name; if (planted(bug)) return;',
    "const run = () => crashPoint('a.b', 'before');",
    "if (late) crashPoint('a.b', 'after');",
  ])('refuses a shape it does not know: %s', (code) => {
    expect(() => withoutTestCode(code)).toThrow('still has test code');
  });

  test('understands every file of the library as it is built', () => {
    const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter(
      (file) => file.endsWith('.js') && !/util[\\/](?:planted-bug|crash-point)\.js$/.test(file),
    );
    const changed = files.filter((file) => {
      const code = readFileSync(join(dist, file), 'utf8');
      return withoutTestCode(code, file) !== code;
    });
    expect(changed.length).toBeGreaterThan(8);
  });

  test('leaves the library of this checkout as it was: its tests need the test code', () => {
    expect(readFileSync(join(dist, 'engine/runner.js'), 'utf8')).toContain(
      "crashPoint('runner.call', 'before')",
    );
    expect(existsSync(join(dist, 'util/crash-point.js'))).toBe(true);
  });
});
