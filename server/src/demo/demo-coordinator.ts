/** The demo's coordinator: in this process, or as a `settle serve` of its own that can be killed. */
import type { ChildProcess } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { defaultConfig } from '../config.ts';
import { createLog } from '../log.ts';
import { startServer } from '../server.ts';
import { Child } from './child-process.ts';
import { freePort } from './free-port.ts';

export interface DemoCoordinator {
  readonly url: string;
  /** SIGKILL, and start again at the same address. Only of one that is a process of its own. */
  killAndRestart(): Promise<void>;
  stop(): Promise<void>;
}

export interface DemoCoordinatorOptions {
  readonly dir: string;
  /** The first port that is tried. */
  readonly port: number;
  readonly callTimeoutMs: number;
  readonly ownProcess: boolean;
  readonly onSurprise: (error: Error) => void;
}

/** Milliseconds after which a restarted coordinator takes over what the killed one had; a demo need not wait longer. */
const leaseMs = 1_000;

export async function startCoordinator(options: DemoCoordinatorOptions): Promise<DemoCoordinator> {
  const port = await freePort(options.port);
  return options.ownProcess ? startProcess(options, port) : startHere(options, port);
}

async function startHere(
  { dir, callTimeoutMs }: DemoCoordinatorOptions,
  port: number,
): Promise<DemoCoordinator> {
  const file = join(dir, 'coordinator.log');
  const write = (line: string): void => appendFileSync(file, `${line}\n`);
  const log = createLog({ level: 'info', json: false, out: write, err: write });
  const config = { ...defaultConfig(), port, store: storeIn(dir), callTimeoutMs, leaseMs };
  const server = await startServer(config, log);
  return {
    url: server.url,
    killAndRestart: () => Promise.reject(new Error('a coordinator in this process cannot be killed')),
    stop: () => server.stop(),
  };
}

async function startProcess(options: DemoCoordinatorOptions, port: number): Promise<DemoCoordinator> {
  const { dir, callTimeoutMs, onSurprise } = options;
  const flags = { port, store: storeIn(dir), 'call-timeout-ms': callTimeoutMs, 'lease-ms': leaseMs };
  const child = new Child({
    name: 'the coordinator',
    script: '../main',
    args: ['serve', '--json', ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)],
    onSurprise,
    untilReady: (process) => readyLine(process, join(dir, 'coordinator.log')),
  });
  await child.start();
  return {
    url: `http://127.0.0.1:${port}`,
    async killAndRestart() {
      await child.kill();
      await child.start();
    },
    stop: () => child.stop(),
  };
}

function storeIn(dir: string): string {
  return join(dir, 'settle.db');
}

function readyLine(child: ChildProcess, logFile: string): Promise<void> {
  return new Promise((resolve) => {
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      appendFileSync(logFile, `${line}\n`);
      if (line.includes('"event":"ready"')) resolve();
    });
  });
}
