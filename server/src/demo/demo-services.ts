/** The three services as child processes. */
import type { ChildProcess } from 'node:child_process';
import { Child } from './child-process.ts';
import type { Place } from './databases/kinds.ts';
import { byService, serviceNames, type ByService, type ServiceName } from './service-names.ts';
import {
  settingsVariable,
  type Defect,
  type ServiceMessage,
  type ServiceSettings,
} from './services/settings.ts';

export interface DemoServicesOptions {
  readonly databases: ByService<Place>;
  readonly seed: number;
  readonly faults: boolean;
  readonly coordinatorUrl: string;
  readonly callTimeoutMs: number;
  readonly plant: { readonly service: ServiceName; readonly defect: Defect } | undefined;
  readonly onCounts: (counts: Extract<ServiceMessage, { kind: 'counts' }>) => void;
  readonly onSurprise: (error: Error) => void;
}

export interface DemoServices {
  readonly urls: ByService<string>;
  /** SIGKILL, and start again at the same address. */
  killAndRestart(service: ServiceName): Promise<void>;
  stop(): Promise<void>;
}

export async function startServices(options: DemoServicesOptions): Promise<DemoServices> {
  const services = serviceNames.map((name) => new Service(name, options));
  const stop = async (): Promise<void> => {
    await Promise.all(services.map((service) => service.stop()));
  };
  try {
    await Promise.all(services.map((service) => service.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  const of = (name: ServiceName): Service => services[serviceNames.indexOf(name)] ?? missing(name);
  return {
    urls: byService((name) => of(name).url),
    async killAndRestart(name) {
      await of(name).kill();
      await of(name).start();
    },
    stop,
  };
}

class Service {
  readonly #options: DemoServicesOptions;
  readonly #name: ServiceName;
  readonly #child: Child;
  /** The port of the first start, so that the URL stays. */
  #port = 0;

  constructor(name: ServiceName, options: DemoServicesOptions) {
    this.#name = name;
    this.#options = options;
    this.#child = new Child({
      name: `the ${name} service`,
      script: 'services/main',
      args: [],
      onSurprise: options.onSurprise,
      untilReady: (child) => this.#ready(child),
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  start(): Promise<void> {
    return this.#child.start({ [settingsVariable]: JSON.stringify(this.#settings()) });
  }

  kill(): Promise<void> {
    return this.#child.kill();
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }

  #settings(): ServiceSettings {
    const { databases, seed, faults, coordinatorUrl, callTimeoutMs, plant } = this.#options;
    const defect = plant?.service === this.#name ? plant.defect : undefined;
    return {
      service: this.#name,
      port: this.#port,
      database: databases[this.#name],
      seed,
      faults,
      coordinatorUrl,
      callTimeoutMs,
      defect,
    };
  }

  #ready(child: ChildProcess): Promise<void> {
    child.stdout?.resume();
    return new Promise((resolve) => {
      // Sent by services/main.ts, in the same release.
      child.on('message', (message: ServiceMessage) => {
        if (message.kind === 'counts') return this.#options.onCounts(message);
        this.#port = message.port;
        resolve();
      });
    });
  }
}

function missing(name: string): never {
  throw new Error(`there is no service ${name}`);
}
