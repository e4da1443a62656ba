/**
 * A TCP proxy that breaks the link between two processes in the ways in which links break, switched at run time.
 *
 * - F1 What passes is passed in order and without a gap: a connection from which bytes were withheld never goes on, and
 *      ends at the heal at the latest.
 * - F2 Which connections a toxic spoils is drawn from the seed, once per connection.
 * - F3 Every connection a toxic bit is counted, so that a test knows that it was tested.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { seeded, type Draw } from './seeded.ts';

export type Toxic =
  /** Every piece is late by `ms`, and by up to `jitterMs` more. */
  | { readonly kind: 'latency'; readonly ms: number; readonly jitterMs: number }
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number }
  /** Pieces of so many bytes, with a pause after each. */
  | { readonly kind: 'slice'; readonly bytes: number; readonly pauseMs: number }
  /** Closes orderly once so many bytes have passed. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** RST once so many bytes have passed. */
  | { readonly kind: 'reset'; readonly afterBytes: number }
  /** New connections are accepted, and that is all that ever happens to them. */
  | { readonly kind: 'half-open' }
  /** Nothing passes any more, and nobody is told. */
  | { readonly kind: 'blackhole' }
  /** The one side's end reaches the other side so much later. */
  | { readonly kind: 'slow-close'; readonly ms: number }
  /** Connections are refused, and those there are reset. */
  | { readonly kind: 'down' };

export type ToxicKind = Toxic['kind'];

/** `request`: towards the target. */
export type Direction = 'request' | 'response';

export interface Poison {
  readonly toxic: Toxic;
  /** Default: both. */
  readonly direction?: Direction;
  /** Of the connections. Default: all. */
  readonly share?: number;
}

export class FaultProxy {
  readonly #target: number;
  readonly #draw: Draw;
  readonly #connections = new Set<Connection>();
  readonly #bitten = new Map<ToxicKind, number>();
  #server: Server | undefined;
  #port = 0;
  #poison: Poison | undefined;

  private constructor(target: string, seed: number) {
    this.#target = Number(new URL(target).port);
    this.#draw = seeded(seed, 'fault-proxy');
  }

  /** In front of a server on the loopback address; passes everything until it is told otherwise. */
  static async start(target: string, seed: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(target, seed);
    await proxy.#listen();
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** How many connections this toxic has spoilt. */
  bitten(kind: ToxicKind): number {
    return this.#bitten.get(kind) ?? 0;
  }

  /** From now on, on the connections there are as on new ones. */
  async poison(poison: Poison): Promise<void> {
    await this.heal();
    this.#poison = poison;
    if (poison.toxic.kind !== 'down') return;
    this.#count('down');
    for (const connection of this.#connections) connection.reset();
    await this.#stopListening();
  }

  /** Passes everything again. F1 */
  async heal(): Promise<void> {
    this.#poison = undefined;
    for (const connection of this.#connections) if (connection.hasGap) connection.reset();
    await this.#listen();
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.reset();
    await this.#stopListening();
  }

  async #listen(): Promise<void> {
    if (this.#server !== undefined) return;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async #stopListening(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  #accept(client: Socket): void {
    const isHit = (poison: Poison): boolean => this.#isHit(poison, connection);
    const connection = new Connection(client, this.#target, this.#draw, isHit);
    this.#connections.add(connection);
    client.once('close', () => this.#connections.delete(connection));
    connection.open(() => this.#poison);
  }

  /** F2, F3 */
  #isHit(poison: Poison, connection: Connection): boolean {
    let isHit = connection.draws.get(poison);
    if (isHit === undefined) {
      isHit = this.#draw() < (poison.share ?? 1);
      connection.draws.set(poison, isHit);
      if (isHit) this.#count(poison.toxic.kind);
    }
    return isHit;
  }

  #count(kind: ToxicKind): void {
    this.#bitten.set(kind, this.bitten(kind) + 1);
  }
}

class Connection {
  readonly draws = new Map<Poison, boolean>();
  hasGap = false;
  readonly #client: Socket;
  readonly #target: number;
  readonly #isHit: (poison: Poison) => boolean;
  readonly #draw: Draw;
  readonly #gone = new AbortController();
  #upstream: Socket | undefined;

  constructor(client: Socket, target: number, draw: Draw, isHit: (poison: Poison) => boolean) {
    this.#client = client;
    this.#target = target;
    this.#draw = draw;
    this.#isHit = isHit;
  }

  open(poison: () => Poison | undefined): void {
    const now = poison();
    this.#watch(this.#client);
    if (now?.toxic.kind === 'half-open' && this.#isHit(now)) {
      this.hasGap = true;
      this.#client.resume();
      return;
    }
    const upstream = connect({ host: '127.0.0.1', port: this.#target, allowHalfOpen: true });
    this.#upstream = upstream;
    this.#watch(upstream);
    const toxicOf = (direction: Direction) => (): Toxic | undefined => {
      const now = poison();
      if (now === undefined || (now.direction ?? direction) !== direction) return undefined;
      return this.#isHit(now) ? now.toxic : undefined;
    };
    const ways = [
      this.#pass(this.#client, upstream, toxicOf('request')),
      this.#pass(upstream, this.#client, toxicOf('response')),
    ];
    void Promise.all(ways).then(() => {
      // Whoever is told that the other side is gone by a gap is told at the heal.
      if (!this.hasGap) this.reset();
    });
  }

  reset(): void {
    this.#gone.abort();
    reset(this.#client);
    if (this.#upstream !== undefined) reset(this.#upstream);
  }

  /** When either side is gone, so is the other. */
  #watch(socket: Socket): void {
    socket.setNoDelay(true);
    socket.on('error', () => this.reset());
    socket.on('close', (failed) => {
      if (failed) this.reset();
    });
  }

  async #pass(from: Socket, to: Socket, toxic: () => Toxic | undefined): Promise<void> {
    let passed = 0;
    try {
      // Older Nodes take the end of what comes in for the end of the socket.
      for await (const chunk of from.iterator({ destroyOnReturn: false })) {
        for (let rest = chunk as Buffer; rest.length > 0;) {
          const now = toxic();
          if (this.hasGap || now?.kind === 'blackhole') {
            this.hasGap = true;
            break;
          }
          const piece = rest.subarray(0, pieceLength(now, rest.length, passed));
          await this.#delay(now, piece.length);
          if (piece.length > 0) await this.#write(to, piece);
          passed += piece.length;
          rest = rest.subarray(piece.length);
          if (now?.kind === 'reset' && passed >= now.afterBytes) return this.reset();
          if (now?.kind === 'cut' && passed >= now.afterBytes) return this.#cut();
        }
      }
      const now = toxic();
      if (this.hasGap) return;
      if (now?.kind === 'slow-close') await this.#sleep(now.ms);
      to.end();
    } catch {
      this.reset();
    }
  }

  async #delay(toxic: Toxic | undefined, bytes: number): Promise<void> {
    if (toxic?.kind === 'latency') await this.#sleep(toxic.ms + this.#draw() * toxic.jitterMs);
    if (toxic?.kind === 'bandwidth') await this.#sleep((bytes / toxic.bytesPerSecond) * 1_000);
    if (toxic?.kind === 'slice') await this.#sleep(toxic.pauseMs);
  }

  async #write(to: Socket, piece: Buffer): Promise<void> {
    // Called when it has left, and also when it never will.
    await new Promise<void>((resolve, reject) => {
      to.write(piece, (error) => (error ? reject(error) : resolve()));
    });
  }

  #sleep(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.#gone.signal });
  }

  #cut(): void {
    this.hasGap = true;
    this.#client.end();
    this.#upstream?.end();
    // Whoever does not close in turn is not waited for.
    this.#client.destroySoon();
    this.#upstream?.destroySoon();
  }
}

/** libuv refuses to reset what is being shut down, and Node then keeps the handle for ever. */
function reset(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** How much of what has come may go at once. */
function pieceLength(toxic: Toxic | undefined, available: number, passed: number): number {
  switch (toxic?.kind) {
    case 'slice':
      return Math.min(available, toxic.bytes);
    case 'bandwidth':
      return Math.min(available, Math.max(1, Math.floor(toxic.bytesPerSecond / 50)));
    case 'cut':
    case 'reset':
      return Math.min(available, Math.max(0, toxic.afterBytes - passed));
    default:
      return available;
  }
}
