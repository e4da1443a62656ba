import type { LogLevel } from './config.ts';

export interface Log {
  error(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  debug(event: string, fields?: LogFields): void;
}

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

const levels: readonly LogLevel[] = ['error', 'info', 'debug'];

/** One line per event: `time level event key=value ...`, or one JSON object. Errors go to `err`, all else to `out`. */
export function createLog(options: {
  readonly level: LogLevel;
  readonly json: boolean;
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
}): Log {
  const { json, out, err } = options;
  const most = levels.indexOf(options.level);
  const at =
    (level: LogLevel, write: (line: string) => void): Log['info'] =>
    (event, fields = {}) => {
      if (levels.indexOf(level) > most) return;
      const time = new Date().toISOString();
      write(
        json
          ? JSON.stringify({ time, level, event, ...fields })
          : `${time} ${level} ${event}${textOf(fields)}`,
      );
    };
  return { error: at('error', err), info: at('info', out), debug: at('debug', out) };
}

function textOf(fields: LogFields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? quoted(value) : String(value)}`)
    .join('');
}

/** Whatever could be taken for two fields, or two lines, goes into quotes. */
function quoted(text: string): string {
  return /^[^\s"=\p{Cc}]+$/u.test(text) ? text : JSON.stringify(text);
}
