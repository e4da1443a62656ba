// A TCP proxy on loopback that can cut its connections, let nobody in, or keep silent as a network that lost its way does.
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Proxy {
  /** The same URL, through the proxy. */
  readonly url: string;
  /** Ends all connections. */
  cut(): void;
  /** Connections from now on are ended at once. */
  refuse(): void;
  accept(): void;
  /** Nothing passes in either direction from now on, and nobody is told. */
  silence(): void;
  close(): Promise<void>;
}

export async function proxyOf(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let isOpen = true;

  const server = createServer((near) => {
    if (!isOpen) return void near.destroy();
    const far = createConnection(Number(port), hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(target);
  url.port = String((server.address() as AddressInfo).port);

  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    cut,
    refuse: () => (isOpen = false),
    accept: () => (isOpen = true),
    silence() {
      for (const socket of sockets) {
        socket.unpipe();
        socket.on('data', () => {});
      }
    },
    close() {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
