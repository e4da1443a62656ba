// The tasks behind package.json's scripts. Each gives back an exit code.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { compile } from './build.mjs';
import { capture, run, runTool } from './child.mjs';
import { Failure } from './failure.mjs';
import { install } from './install.mjs';
import { typeStrippingFlags } from './node.mjs';
import { checkPackages } from './packages.mjs';
import { root } from './paths.mjs';

const tasks = {
  install: () => 0,
  build: () => compile(),
  typecheck: () => compile(['.']),
  lint: (args) => runTool('oxlint', ['--deny-warnings', ...args]),
  format: (args) => runTool('oxfmt', args),
  'format:check': (args) => runTool('oxfmt', ['--check', ...args]),
  'check:packages': () => checkPackages(),
  'test:unit': (args) => runTool('vitest', ['run', ...args]),
  // Every small world of the protocols, and how much of core it goes through.
  explore: (args) => runTool('vitest', ['run', ...exploring, ...args]),
  bench,
  soak,
  // The simulator runs the sources of lib as they are: nothing is built for it.
  'sim:nodes': (args) => simNodes(args),
  sim: (args) =>
    run(process.execPath, [...typeStrippingFlags(), join(root, 'sim', 'src', 'main.ts'), ...args]),
};

const exploring = [
  '--project',
  'unit',
  'lib/src/testing/explore.test.ts',
  '--coverage',
  // Checks of definitions and the codec are no part of it, so it covers less than every branch.
  '--coverage.thresholds.branches=0',
];

/** The hashes of the same seeds on the oldest Node we run on and on the one we develop on. */
async function simNodes([seeds = '300']) {
  const script = join(root, 'scripts', 'run.mjs');
  const hashes = [];
  for (const version of ['22.14.0', '24.21.0']) {
    const args = [script, 'sim', '--node', version, '--seeds', seeds, '--hashes'];
    const { code, stdout, stderr } = await capture(process.execPath, args);
    if (code !== 0) throw new Failure(`the simulator failed on node ${version}:\n${stdout}${stderr}`);
    hashes.push(
      stdout
        .split('\n')
        .filter((line) => line.startsWith('hash '))
        .toSorted(),
    );
  }
  const [old = [], current = []] = hashes;
  const differing = old.filter((line, i) => line !== current[i]);
  for (const line of differing) console.log(`on node 22.14.0, and otherwise on 24.21.0: ${line}`);
  console.log(`${old.length} seeds on node 22.14.0 and 24.21.0, ${differing.length} with another hash`);
  return old.length > 0 && old.length === current.length && differing.length === 0 ? 0 : 1;
}

export async function runTask(name, args = []) {
  const task = tasks[name];
  if (!task) throw new Failure(`no task ${name ?? ''}; there are ${Object.keys(tasks).join(', ')}`);
  await install();
  return task(args);
}

async function bench([name, ...args]) {
  const benches = readdirSync(join(root, 'bench')).filter((entry) => existsSync(mainOf(entry)));
  if (!name || name.startsWith('-')) {
    console.log(`npm run bench -- <name>, where the name is one of: ${benches.join(', ') || '(none yet)'}`);
    return 0;
  }
  if (!benches.includes(name))
    throw new Failure(`no bench ${name}; there are ${benches.join(', ') || 'none yet'}`);
  const code = await compile();
  if (code !== 0) return code;
  return run(process.execPath, [...typeStrippingFlags(), mainOf(name), ...args], { ownGroup: true });
}

/** The coordinator is the built one; it is killed as often as asked. */
async function soak(args) {
  const code = await compile();
  if (code !== 0) return code;
  const main = join(root, 'test', 'crash', 'main.ts');
  return run(process.execPath, [...typeStrippingFlags(), main, ...args], { ownGroup: true });
}

function mainOf(name) {
  return join(root, 'bench', name, 'main.ts');
}
