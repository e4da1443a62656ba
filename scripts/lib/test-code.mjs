// What only tests may do, planted bugs and crash points, is taken out of the files that are published. Lines and
// columns stay as they are, so that the source maps go on fitting.

const plantedBug = /\bplanted\('[\w-]+'\)/g;
const crashPoint = /^(\s*)crashPoint\('[\w.-]+', '(?:before|after)'\);/gm;
const imports = /^import \{ (?:planted|crashPoint) \} from '[^']+';/gm;
const left = /^(?!\s*(?:\*|\/\/|export )).*\b(?:planted|crashPoint)\(/m;

/**
 * @param {string} code
 * @param {string} path
 * @returns {string} The same file without the test code; throws when some of it has a shape that is not recognised.
 */
export function withoutTestCode(code, path = 'the code') {
  const stripped = code
    .replace(plantedBug, (text) => 'false'.padEnd(text.length))
    .replace(crashPoint, (text) => ' '.repeat(text.length))
    .replace(imports, (text) => ' '.repeat(text.length));
  const found = left.exec(stripped);
  if (found !== null) throw new Error(`${path} still has test code: ${found[0].trim()}`);
  return stripped;
}
