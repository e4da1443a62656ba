// Brokers for test files: one that all share, where each file has names of its own, and one that a file has for itself
// and may kill. A broker is started when the first file asks for it.
import { randomBytes } from 'node:crypto';
import { basename } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { askMs, Line } from './ask.ts';

export interface TestBroker {
  /** Known once the hooks of the file have begun: read it in `beforeAll` or in a test. */
  readonly url: string;
  /**
   * The name of this file's own queue, topic, stream or whatever else: `orders` becomes
   * `settle-name-of-the-file-1a2b3c4d-orders`, the same one each time. Known when url is.
   */
  name(label: string): string;
}

export interface SharedBroker {
  /** A key of `services`. */
  readonly service: 'nats' | 'rabbitmq' | 'kafka';
  readonly cleanUp: (url: string, left: LeftByFile) => Promise<void>;
}

/** What a file may have left on the broker, all of it to be deleted. */
export interface LeftByFile {
  /** With which all its names begin. */
  readonly prefix: string;
  /** Those it has asked for. */
  readonly names: readonly string[];
}

/** Registers the hooks. Hooks of the file registered after this call run before ours at the end: close clients there. */
export function brokerOfThisFile({ service, cleanUp }: SharedBroker): TestBroker {
  let own: { readonly url: string; readonly prefix: string } | undefined;
  const names = new Set<string>();

  beforeAll(async () => {
    const line = await Line.open();
    try {
      const url = await line.askForUrl({ verb: 'share', name: service });
      own = { url, prefix: prefixOf(expect.getState().testPath ?? 'test') };
    } finally {
      line.close();
    }
  }, askMs);

  afterAll(async () => {
    if (own !== undefined) await cleanUp(own.url, { prefix: own.prefix, names: [...names] });
  });

  const here = () => {
    if (own === undefined) throw new Error('the broker is started in beforeAll: use it there or later');
    return own;
  };
  return {
    get url() {
      return here().url;
    },
    name(label) {
      const name = `${here().prefix}${label}`;
      names.add(name);
      return name;
    },
  };
}

/** Only what every broker takes in every kind of name. */
function prefixOf(file: string): string {
  const label = basename(file)
    .replace(/\..*$/, '')
    .replace(/[^\w-]/g, '-');
  return `settle-${label.slice(0, 40)}-${randomBytes(4).toString('hex')}-`;
}

/** A broker that only its test knows: it may do to it what an operator or an accident does. */
export interface PrivateBroker {
  /** The same after every restart. */
  readonly url: string;
  /** Ends it at once (SIGKILL) and returns when it is gone. Its data stays. */
  kill(): Promise<void>;
  /** Starts it again on the same data and port, after a kill or out of its work; returns when it answers. */
  restart(): Promise<void>;
  /** It keeps its connections and takes new ones, and neither reads nor answers, until `resume()` (SIGSTOP). */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Ends it and removes its data. Forgotten, it ends with the process of the test file. */
  stop(): Promise<void>;
}

export async function privateBroker(
  service:
    | 'privateNats'
    | 'privateRabbitmq'
    | 'privateKafka'
    | 'privateRedis'
    | 'privatePostgres'
    | 'privateMariadb',
): Promise<PrivateBroker> {
  const line = await Line.open();
  const tell = (verb: 'kill' | 'restart' | 'pause' | 'resume' | 'stop') => async () => {
    await line.ask({ verb });
  };
  try {
    const url = await line.askForUrl({ verb: 'own', name: service });
    const stop = tell('stop');
    return {
      url,
      kill: tell('kill'),
      restart: tell('restart'),
      pause: tell('pause'),
      resume: tell('resume'),
      async stop() {
        await stop();
        line.close();
      },
    };
  } catch (error) {
    line.close();
    throw error;
  }
}
