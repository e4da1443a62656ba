/**
 * A response of node:http that is kept back until somebody says that it may leave.
 *
 * - R1 Nothing of it leaves before `release`, neither its head nor a byte of its body.
 * - R2 To the code that makes it, it looks as sent as it would be: `headersSent` is true from the first write on.
 * - R3 After `discard` its headers are as they were in the beginning, its status is 500, so that an error handler which says
 *   none tells no lie, and everything goes straight through.
 * - R4 Not more than a limit of a body that is written piece by piece is kept.
 */
import { SettleError } from '../../util/errors.ts';

/** The part of `ServerResponse` that is used. */
export interface HoldableResponse {
  statusCode: number;
  readonly headersSent: boolean;
  writeHead: (...args: never[]) => unknown;
  write: (...args: never[]) => unknown;
  end: (...args: never[]) => unknown;
  flushHeaders: (...args: never[]) => unknown;
  getHeaders(): Readonly<Record<string, number | string | readonly string[] | undefined>>;
  setHeader(name: string, value: number | string | readonly string[]): unknown;
  removeHeader(name: string): void;
  destroy(error?: Error): unknown;
}

export interface HoldOptions {
  /** For messages: `POST /orders`. */
  readonly label: string;
  readonly bytesMax: number;
  /** The whole response is here. Either `release` or `discard` is called then. */
  readonly onEnd: (status: number) => void;
  /** R4: it was over the limit, and is destroyed. */
  readonly onOverflow: (error: SettleError) => void;
}

type Call = () => unknown;

/** `dropped`: R4. */
type State =
  | { readonly kind: 'holding'; readonly calls: Call[]; bytes: number }
  | { readonly kind: 'whole'; readonly calls: readonly Call[]; readonly status: number }
  | { readonly kind: 'let go' }
  | { readonly kind: 'dropped' };

export class HeldResponse {
  readonly #response: HoldableResponse;
  readonly #options: HoldOptions;
  readonly #headersBefore: ReturnType<HoldableResponse['getHeaders']>;
  #state: State = { kind: 'holding', calls: [], bytes: 0 };

  constructor(response: HoldableResponse, options: HoldOptions) {
    this.#response = response;
    this.#options = options;
    this.#headersBefore = { ...response.getHeaders() };
    this.#intercept('writeHead', (args, call) => this.#writeHead(args, call));
    this.#intercept('write', (args, call) => this.#write(args, call));
    this.#intercept('end', (args, call) => this.#end(args, call));
    this.#intercept('flushHeaders', () => this.#flushHeaders());
    this.#pretendSent();
  }

  /** Lets it leave. */
  release(): void {
    if (this.#state.kind !== 'whole') return;
    const { calls, status } = this.#state;
    this.#state = { kind: 'let go' };
    this.#response.statusCode = status;
    for (const call of calls) call();
  }

  /** R3 */
  discard(): void {
    this.#state = { kind: 'let go' };
    if (this.#response.headersSent) return;
    for (const name of Object.keys(this.#response.getHeaders())) this.#response.removeHeader(name);
    for (const [name, value] of Object.entries(this.#headersBefore)) {
      if (value !== undefined) this.#response.setHeader(name, value);
    }
    this.#response.statusCode = 500;
  }

  #writeHead(args: Arguments, call: (args: Arguments) => unknown): unknown {
    if (this.#state.kind !== 'holding' || this.#looksSent) throw headSentAlready();
    this.#state.calls.push(() => call(args));
    const [status] = args;
    if (typeof status === 'number') this.#response.statusCode = status;
    return this.#response;
  }

  #write(args: Arguments, call: (args: Arguments) => unknown): boolean {
    // What comes after the end is lost with Node as well.
    if (this.#state.kind !== 'holding') return false;
    const data = args.filter((arg) => typeof arg !== 'function');
    const [chunk, encoding] = data;
    this.#state.bytes += lengthOf(chunk, encoding);
    if (this.#state.bytes > this.#options.bytesMax) {
      this.#drop();
      return false;
    }
    this.#state.calls.push(() => call(data));
    // It is taken, and whoever waits for that before writing on need not wait for the end.
    const taken = args.at(-1);
    if (typeof taken === 'function') process.nextTick(() => void Reflect.apply(taken, undefined, []));
    return true;
  }

  #end(args: Arguments, call: (args: Arguments) => unknown): unknown {
    if (this.#state.kind !== 'holding') return this.#response;
    const { statusCode: status } = this.#response;
    // It throws for what is no body, as it would later, when it is too late.
    if (typeof args[0] !== 'function') lengthOf(args[0] ?? '', args[1]);
    this.#state = { kind: 'whole', calls: [...this.#state.calls, () => call(args)], status };
    this.#options.onEnd(status);
    return this.#response;
  }

  #flushHeaders(): void {
    if (this.#state.kind !== 'holding') return;
    throw new SettleError(
      'config_invalid',
      `${this.#options.label} cannot stream: its answer waits for the COMMIT`,
      {
        next: 'Mount the middleware on routes that answer once, and open transactions inside those that stream',
      },
    );
  }

  /** R4. Whoever writes goes on to do so, and an answer in its place would be mixed with that: the connection ends. */
  #drop(): void {
    this.#state = { kind: 'dropped' };
    const { bytesMax, label } = this.#options;
    const error = new SettleError(
      'limit_exceeded',
      `${label} wrote more than ${bytesMax} bytes before its COMMIT`,
      {
        next: 'Answer at once, raise heldBytesMax, or open transactions inside routes that stream',
      },
    );
    this.#response.destroy(error);
    this.#options.onOverflow(error);
  }

  /** R2 */
  get #looksSent(): boolean {
    const { kind } = this.#state;
    return kind === 'whole' || kind === 'dropped' || (kind === 'holding' && this.#state.calls.length > 0);
  }

  #pretendSent(): void {
    const response = this.#response;
    const own = Object.getOwnPropertyDescriptor(response, 'headersSent');
    const isSent = (): unknown =>
      own?.get?.call(response) ??
      Reflect.get(Object.getPrototypeOf(response) as object, 'headersSent', response);
    Object.defineProperty(response, 'headersSent', {
      configurable: true,
      get: () => this.#looksSent || isSent(),
    });
  }

  /** Puts itself before a method, as long as the response is held. */
  #intercept(
    name: 'writeHead' | 'write' | 'end' | 'flushHeaders',
    instead: (args: Arguments, call: (args: Arguments) => unknown) => unknown,
  ): void {
    const original = this.#response[name];
    const call = (args: Arguments): unknown => Reflect.apply(original, this.#response, args);
    this.#response[name] = (...args: Arguments) =>
      this.#state.kind === 'let go' ? call(args) : instead(args, call);
  }
}

type Arguments = readonly unknown[];

function lengthOf(chunk: unknown, encoding: unknown): number {
  if (chunk instanceof Uint8Array) return chunk.byteLength;
  if (typeof chunk !== 'string') throw new TypeError('a body is of strings and bytes');
  return Buffer.byteLength(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : undefined);
}

/** As Node says it. */
function headSentAlready(): Error {
  const error = new Error('Cannot write headers after they are sent to the client');
  return Object.assign(error, { code: 'ERR_HTTP_HEADERS_SENT' });
}
