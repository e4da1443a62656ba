// Starts other programs: always under the Node this script runs on, which also goes first on their PATH.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { modules, root } from './paths.mjs';

/** A signal that reaches us twice within this time (from the terminal and again from npm) was meant once. */
const sameSignalMs = 1_000;
const parentCheckMs = 500;
const onWindows = process.platform === 'win32';

/** The environment of every child: `node` is the one given, on PATH and for npm alike. */
export function environmentFor(node, extra = {}) {
  const env = { ...process.env, ...extra };
  const pathKey = Object.keys(env).find((key) => key.toLowerCase() === 'path') ?? 'PATH';
  const folder = dirname(node);
  const rest = (env[pathKey] ?? '').split(delimiter).filter((entry) => entry !== folder);
  env[pathKey] = [folder, ...rest].join(delimiter);
  // Some tools colour what goes into a file or a log too.
  if (!process.stdout.isTTY && !env.FORCE_COLOR) env.NO_COLOR = '1';
  env.NODE = node;
  env.npm_node_execpath = node;
  return env;
}

/**
 * Runs a program, shares our terminal with it, and gives back its exit code.
 * SIGINT, SIGTERM and SIGHUP are handed on once; with `ownGroup` the child hears them from us alone,
 * although a terminal sends Ctrl-C to everybody at once. A child does not outlive a killed npm.
 */
export function run(program, args, { node = process.execPath, cwd = root, env = {}, ownGroup = false } = {}) {
  const detached = ownGroup && !onWindows;
  const child = spawn(program, args, { cwd, env: environmentFor(node, env), stdio: 'inherit', detached });
  const release = handSignalsTo(child);
  return exitOf(child).finally(release);
}

/** Runs a program quietly and gives back its exit code and what it printed. */
export function capture(program, args, { node = process.execPath, cwd = root, env = {} } = {}) {
  const child = spawn(program, args, {
    cwd,
    env: environmentFor(node, env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => (output.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (output.stderr += text));
  return exitOf(child).then((code) => ({ code, ...output }));
}

/** The npm that started us, else the one on PATH, as the program and first arguments to spawn. */
export function npm(node = process.execPath) {
  const cli = process.env.npm_execpath;
  if (cli && basename(cli) === 'npm-cli.js' && existsSync(cli)) return [node, cli];
  return onWindows ? ['cmd.exe', '/d', '/c', 'npm'] : ['npm'];
}

/** The script behind a command that an installed package offers. */
export function binOf(packageName, command = packageName) {
  const folder = join(modules, packageName);
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return join(folder, typeof bin === 'string' ? bin : bin[command]);
}

/** Runs the command of an installed package under our Node. */
export function runTool(packageName, args, { command, ...options } = {}) {
  return run(process.execPath, [binOf(packageName, command), ...args], options);
}

function handSignalsTo(child) {
  const lastSeen = new Map();
  const handlers = ['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => {
    const handler = () => {
      const now = performance.now();
      const repeated = now - (lastSeen.get(signal) ?? -Infinity) < sameSignalMs;
      lastSeen.set(signal, now);
      // On Windows the console has told the child already, and kill() would end it by force.
      if (!repeated && !onWindows) child.kill(signal);
    };
    process.on(signal, handler);
    return [signal, handler];
  });
  const stopWatching = whenNpmIsGone(() => child.kill('SIGTERM'));
  return () => {
    stopWatching();
    for (const [signal, handler] of handlers) process.removeListener(signal, handler);
  };
}

/** npm runs us through a shell, which passes no signal on when npm is told to end: we only see our parent change. */
function whenNpmIsGone(act) {
  if (!process.env.npm_lifecycle_event) return () => {};
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    act();
  }, parentCheckMs);
  return () => clearInterval(timer);
}

function exitOf(child) {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}
