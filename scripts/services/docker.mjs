// The same services from Docker, for machines that have nothing else.
import { execFile } from 'node:child_process';

const answerMs = 10_000;

/** Nothing when a Docker daemon answers, else why not. Asked once: every service gets the same answer. */
export function whyNoDocker() {
  answer ??= new Promise((resolve) => {
    execFile(
      'docker',
      ['version', '--format', '{{.Server.Version}}'],
      { timeout: answerMs },
      (error, _stdout, stderr) => {
        if (error === null) resolve(undefined);
        else if (error.code === 'ENOENT') resolve('not installed');
        else resolve(stderr.trim().split('\n').at(-1) || 'its daemon does not answer');
      },
    );
  });
  return answer;
}

let answer;

/** It stays in the foreground, so that its end is seen as any other program's. */
export function dockerRun({ image }, { name, port }) {
  const publish = `127.0.0.1:${port}:${image.port}`;
  return [
    'docker',
    ['run', '--rm', '--name', name, '-p', publish, ...image.options(port), image.name, ...image.args],
  ];
}

/** Killing the foreground program would leave the container behind; this ends both. */
export function dockerRemove(name) {
  return new Promise((resolve) => {
    execFile('docker', ['rm', '--force', '--volumes', name], { timeout: answerMs }, () => resolve());
  });
}
