/** Writer, relay and consumer as child processes. */
import { randomBytes } from 'node:crypto';
import { Child } from '../child-process.ts';
import {
  roles,
  settingsVariable,
  type OutboxDefect,
  type Role,
  type RoleMessage,
  type RoleSettings,
} from './settings.ts';

export interface ProcessesOptions {
  readonly dir: string;
  readonly seed: number;
  readonly lastOrder: number | undefined;
  readonly faults: boolean;
  readonly defect: OutboxDefect | undefined;
  readonly onMessage: (message: RoleMessage) => void;
  readonly onSurprise: (error: Error) => void;
}

export interface Processes extends AsyncDisposable {
  /** SIGKILL, and start again; a consumer at the same address. */
  killAndRestart(role: Role): Promise<void>;
  /** No order is written any more. */
  stopWriter(): Promise<void>;
  /** Relay and consumer finish what they are at. */
  stop(): Promise<void>;
}

/** Starts the consumer, the relay, which needs its address, and the writer. */
export async function startProcesses(options: ProcessesOptions): Promise<Processes> {
  const { onMessage, onSurprise, ...shared } = options;
  const secret = `whsec_${randomBytes(32).toString('base64')}`;
  let port = 0;
  const hear = (message: RoleMessage): void => {
    if (message.kind === 'ready' && message.port !== 0) port = message.port;
    onMessage(message);
  };
  const children = {
    writer: childOf('writer', hear, onSurprise),
    relay: childOf('relay', hear, onSurprise),
    consumer: childOf('consumer', hear, onSurprise),
  };
  const start = (role: Role): Promise<void> => {
    const settings: RoleSettings = { ...shared, port, secret };
    return children[role].start({ [settingsVariable]: JSON.stringify(settings) });
  };
  const stop = async (): Promise<void> => {
    // Who sends before who is sent to.
    for (const role of roles) await children[role].stop();
  };
  try {
    for (const role of roles.toReversed()) await start(role);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    async killAndRestart(role) {
      await children[role].kill();
      await start(role);
    },
    stopWriter: () => children.writer.stop(),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function childOf(
  role: Role,
  hear: (message: RoleMessage) => void,
  onSurprise: (error: Error) => void,
): Child {
  return new Child({
    name: `the ${role}`,
    script: `outbox/${role}`,
    args: [],
    onSurprise,
    untilReady: (child) =>
      new Promise((resolve) => {
        child.stdout?.resume();
        // Sent by the roles' own scripts, in the same release.
        child.on('message', (message: RoleMessage) => {
          hear(message);
          if (message.kind === 'ready') resolve();
        });
      }),
  });
}
