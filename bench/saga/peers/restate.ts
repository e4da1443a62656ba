/**
 * Restate: one node with every role, durable as its own defaults make it (a replicated log of one copy, its
 * write-ahead log fsynced). The caller asks the ingress and waits; the handler runs in a process of its own.
 */
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Child, measureIn, startModule } from '../../harness/child.ts';
import type { Measured } from '../../harness/load.ts';
import { freePorts } from '../../harness/port.ts';
import { poster } from '../../harness/post.ts';
import { type Running, startProgram } from '../../harness/program.ts';
import { install } from '../../harness/install.ts';
import { order, type Peer, type PeerLoad } from './peer.ts';

/** On two cores 4 gave more than 2, 8 and its default of 24: see ../../README.md. */
const partitions = 4;

const versions = { '@restatedev/restate-server': '1.7.12', '@restatedev/restate-sdk': '1.17.2' };

export async function openRestate(): Promise<Peer> {
  const packages = await install(versions);
  const platform = `${process.platform}-${process.arch}`;
  const server = join(packages, `node_modules/@restatedev/restate-server-${platform}/bin/restate-server`);
  if (!existsSync(server)) throw new Error(`Restate publishes no server for ${platform}`);
  return {
    name: 'restate',
    about:
      `server ${versions['@restatedev/restate-server']} (one node, its default durability, ${partitions} partitions), ` +
      `TypeScript SDK ${versions['@restatedev/restate-sdk']} (a service handler with two ctx.run, HTTP/2, ` +
      'no journal kept after the end, RESTATE_LOGGING=ERROR) on this Node',
    measure: (load) => measure(server, packages, load),
  };
}

async function measure(server: string, packages: string, load: PeerLoad): Promise<Measured> {
  const [node = 0, ingress = 0, admin = 0] = await freePorts(3);
  const running = await startServer(server, { node, ingress, admin });
  let service: Child | undefined;
  try {
    const toAdmin = poster(`http://127.0.0.1:${admin}`);
    const toIngress = poster(`http://127.0.0.1:${ingress}`);
    service = await startModule(new URL('restate-service.ts', import.meta.url), [
      packages,
      load.participants,
    ]);
    const deployment = { uri: service.url };
    await running.ready(() => toAdmin('/deployments', deployment));
    await running.ready(() => toIngress('/orders/place', order));
    return await measureIn(new URL('restate-client.ts', import.meta.url), [
      `http://127.0.0.1:${ingress}`,
      load.inFlight,
      load.durationMs,
      load.warmUpMs,
    ]);
  } finally {
    await running.stop();
    await service?.stop();
  }
}

interface Ports {
  readonly node: number;
  readonly ingress: number;
  readonly admin: number;
}

function startServer(file: string, ports: Ports): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'settle-bench-restate-'));
  return startProgram({
    file,
    args: ['--no-logo'],
    env: {
      ...process.env,
      RESTATE_BASE_DIR: join(folder, 'data'),
      RESTATE_NODE_NAME: 'bench',
      RESTATE_LISTEN_MODE: 'tcp',
      RESTATE_BIND_IP: '127.0.0.1',
      RESTATE_BIND_PORT: String(ports.node),
      RESTATE_INGRESS__BIND_PORT: String(ports.ingress),
      RESTATE_ADMIN__BIND_PORT: String(ports.admin),
      RESTATE_DEFAULT_NUM_PARTITIONS: String(partitions),
      RESTATE_DISABLE_TELEMETRY: 'true',
      RESTATE_LOG_FILTER: 'warn',
    },
    folder,
    // Its data is thrown away: nothing is gained by ending it gently, which takes it seconds.
    stopSignal: 'SIGKILL',
  });
}
