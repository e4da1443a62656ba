// Installs what is missing on Debian and its relatives, when we are root and so nobody has to be asked for a password.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Failure } from '../lib/failure.mjs';
import { alone } from '../lib/lock.mjs';
import { findProgram } from '../../server/src/demo/private-servers/programs.ts';

/** Nothing when apt-get may be used, else why not. */
export function whyNoApt() {
  if (!existsSync('/etc/debian_version') || findProgram('apt-get') === undefined)
    return 'not a Debian machine';
  return process.getuid?.() === 0 ? undefined : 'only root may install packages';
}

/** One call for all packages: a second one would wait for the lock of the first anyway. */
export function aptInstall(packages) {
  return alone('install-services', async () => {
    console.log(`installing ${packages.join(', ')} with apt-get, for the tests that need real services`);
    // Names and addresses of packages go out of date, and an old list then ends in "404 Not Found".
    await aptGet(['update']);
    await aptGet(['install', '--yes', '--no-install-recommends', ...packages]);
  });
}

/** Quiet when it succeeds, and the whole of what it said when not. */
function aptGet(args) {
  const command = ['-q', '-o', 'DPkg::Lock::Timeout=120', ...args];
  const child = spawn('apt-get', command, {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A package that is half installed is worse than one too many: Ctrl-C does not reach it.
    detached: true,
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (said += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (said += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Failure(`apt-get ${args.join(' ')} ended with exit code ${code}:\n${said.trim()}`));
    });
  });
}
