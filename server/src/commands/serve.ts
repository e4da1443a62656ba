/** `settle serve`: a coordinator until a signal ends it. */
import { resolveConfig } from '../config.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { allocateYoung } from '../garbage-collection.ts';
import { createLog, type Log } from '../log.ts';
import { messageOf } from '../message-of.ts';
import { releaseVersion, startServer } from '../server.ts';
import { dieOnSurprise, stopSignal } from '../shutdown.ts';

export async function serveCommand(argv: readonly string[]): Promise<ExitCode> {
  allocateYoung();
  const { config, file, warnings } = resolveConfig({ argv, env: process.env });
  // Whoever read our log is gone. That is no reason to stop settling.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  const log = createLog({
    level: config.logLevel,
    json: config.json,
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
  });
  dieOnSurprise((what, error) => {
    log.error('crash', { what, error: error instanceof Error ? error.stack : messageOf(error) });
  }, exitCodes.unexpected);
  const signal = stopSignal();
  for (const warning of warnings) log.info('warning', { message: warning });
  log.info('starting', { version: releaseVersion(), store: config.store, config: file, pid: process.pid });
  const server = await startServer(config, log);
  // What tests and supervisors wait for.
  log.info('ready', { url: server.url, pid: process.pid });
  const reason = await Promise.race([signal.asked, parentGone()]);
  await stop(() => server.stop(), log, reason);
  signal.release();
  // The channel to a parent would keep the process alive.
  if (process.connected) process.disconnect();
  return exitCodes.done;
}

async function stop(stopServer: () => Promise<void>, log: Log, reason: string): Promise<void> {
  const started = performance.now();
  log.info('stopping', { reason });
  await stopServer();
  log.info('stopped', { ms: Math.round(performance.now() - started) });
}

/** Started by a Node process over a channel, and that process is gone: nobody is left who could stop us. */
function parentGone(): Promise<string> {
  return new Promise((resolve) => {
    if (process.channel !== undefined)
      process.once('disconnect', () => resolve('the parent process is gone'));
  });
}
