#!/usr/bin/env node
/** The `settle` command: picks the command, and turns whatever goes wrong into one line and an exit code. */
import { isSettleError, SettleError } from 'settle/core';
import { configCommand } from './commands/config.ts';
import { options, variableOf, type OptionName } from './config.ts';
import { exitCodeOf, exitCodes, isListenError, type ExitCode } from './exit-codes.ts';
import { flagOf, unknownName } from './flags.ts';
import { defaultText, type Option } from './config-option.ts';
import { messageOf } from './message-of.ts';

interface Command {
  readonly does: string;
  readonly help: () => Promise<string> | string;
  readonly run: (argv: readonly string[]) => Promise<ExitCode> | ExitCode;
}

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

// The commands are loaded when they run: `settle config` opens no store and starts no thread.
const commands: Readonly<Record<string, Command>> = {
  serve: {
    does: 'Run a coordinator and its HTTP API',
    help: serverHelp,
    run: async (argv) => (await import('./commands/serve.ts')).serveCommand(argv),
  },
  dev: {
    does: 'Watch orders settle across three demo services, under faults',
    help: async () => describeOptions((await import('./commands/dev-options.ts')).shownDevOptions, false),
    run: async (argv) => (await import('./commands/dev.ts')).devCommand(argv),
  },
  outbox: {
    does: 'List, replay and purge dead letters of an outbox, count what waits there, create its tables',
    help: async () =>
      (await import('./commands/outbox-options.ts')).describeOutbox((table) => describeOptions(table, false)),
    run: async (argv) => (await import('./commands/outbox.ts')).outboxCommand(argv, print),
  },
  config: {
    does: 'Print the configuration that `settle serve` would run with, and where each value comes from',
    help: serverHelp,
    run: (argv) => configCommand(argv, print),
  },
};

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<ExitCode> {
  try {
    refuseOldNode();
    const [first, ...rest] = argv;
    if (first === '--version' || first === '-v') return say((await import('./server.ts')).releaseVersion());
    if (first === undefined || first === '--help' || first === '-h' || first === 'help') return say(usage());
    const command = Object.hasOwn(commands, first) ? commands[first] : undefined;
    if (command === undefined)
      throw unknownName({ subject: first, kind: 'command' }, Object.keys(commands), 'settle --help');
    if (rest.includes('--help') || rest.includes('-h')) {
      return say(`settle ${first} [options]\n\n${command.does}.\n\n${await command.help()}`);
    }
    return await command.run(rest);
  } catch (error) {
    process.stderr.write(`settle: ${explain(error)}\n`);
    return exitCodeOf(error);
  }
}

/** Older ones fail somewhere in the middle, with a message about something else. */
function refuseOldNode(): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 14)) return;
  throw new SettleError('config_invalid', `settle does not run on node ${process.version}`, {
    next: 'Use Node 22.14 or newer',
  });
}

function say(text: string): ExitCode {
  print(text);
  return exitCodes.done;
}

/** One line with what happened and what to do; of a surprise, everything. */
function explain(error: unknown): string {
  if (isSettleError(error) || isListenError(error)) {
    return error.next === undefined ? error.message : `${error.message}. ${error.next}`;
  }
  return error instanceof Error && error.stack !== undefined ? error.stack : messageOf(error);
}

function usage(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(([name, { does }]) => `  ${name.padEnd(width)}  ${does}`);
  return `settle <command> [options]\n\n${lines.join('\n')}\n\nsettle <command> --help lists its options; settle --version prints the version.`;
}

function serverHelp(): string {
  const first =
    '  --config <file>\n      JSON file with these options as keys, such as { "port": 36789 }. Also SETTLE_CONFIG.';
  return `${first}\n${describeOptions(options, true)}\n\nFlags come before environment variables, those before the file.`;
}

function describeOptions(table: Readonly<Record<string, Option<unknown>>>, withVariables: boolean): string {
  return Object.entries(table)
    .map(([name, option]) => {
      const value = option.kind === 'switch' ? '' : ` <${option.hint}>`;
      const variable = withVariables ? ` Also ${variableOf(name as OptionName)}.` : '';
      const fallback = defaultText(option);
      const shown = option.kind === 'switch' || fallback === '' ? '' : ` Default ${fallback}.`;
      return `  --${flagOf(name)}${value}\n      ${option.doc}${shown}${variable}`;
    })
    .join('\n');
}
