/**
 * The server's binary log over a connection of mysql2, which itself reads only four kinds of events: this adds a command to
 * it that hands on the bytes of each. What is used of its inside is in `Core`; it is tried with mysql2 3.24.
 */
import { SettleError } from '../../../util/errors.ts';

/** The part of a connection of `mysql2/promise` that is used. */
export interface Mysql2LogConnection {
  query(sql: string, values: (string | number)[]): Promise<readonly unknown[]>;
  end(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  readonly threadId: number;
}

export interface BinlogPosition {
  readonly file: string;
  readonly at: number;
}

export interface DumpOptions {
  readonly from: BinlogPosition;
  readonly serverId: number;
  readonly onEvent: (bytes: Uint8Array) => void;
  /** The server has refused or ended it, or the connection is lost. */
  readonly onEnd: (why: Error) => void;
}

/** Throws `config_invalid` for what is no connection of mysql2. */
export function refuseForeign(connection: Mysql2LogConnection): void {
  coreOf(connection);
}

/** Begins to read; the first event follows soon. */
export function dump(connection: Mysql2LogConnection, options: DumpOptions): void {
  coreOf(connection).addCommand(new DumpCommand(options));
}

/** Ends a connection whose server may be gone. */
export function cut(connection: Mysql2LogConnection): void {
  coreOf(connection).stream.destroy();
}

/** The connection of callbacks beneath that of promises. */
interface Core {
  addCommand(command: DumpCommand): unknown;
  writePacket(packet: RequestPacket): void;
  sequenceId: number;
  compressedSequenceId: number;
  readonly stream: { destroy(): unknown };
}

function coreOf(connection: object): Core {
  const core = 'connection' in connection ? connection.connection : undefined;
  if (isCore(core)) return core;
  throw new SettleError('config_invalid', 'what was handed in is no connection of mysql2/promise', {
    next: 'Hand in () => createConnection(url) of mysql2/promise',
  });
}

function isCore(core: unknown): core is Core {
  const members = ['addCommand', 'writePacket', 'sequenceId', 'stream'];
  return typeof core === 'object' && core !== null && members.every((member) => member in core);
}

interface AnswerPacket {
  readonly buffer: Uint8Array;
  readonly offset: number;
  readonly end: number;
}

/** What mysql2 takes for a command: it is asked to begin, and then given each packet. */
class DumpCommand {
  readonly #options: DumpOptions;

  constructor(options: DumpOptions) {
    this.#options = options;
  }

  /** Whether it is done. */
  execute(packet: AnswerPacket | undefined, core: Core): boolean {
    if (packet === undefined) {
      core.sequenceId = 0;
      core.compressedSequenceId = 0;
      core.writePacket(new RequestPacket(this.#options));
      return false;
    }
    const bytes = packet.buffer.subarray(packet.offset, packet.end);
    if (bytes[0] === 0) {
      this.#options.onEvent(bytes.subarray(1));
      return false;
    }
    this.#options.onEnd(bytes[0] === 0xff ? refusalIn(bytes) : new Error('the server ended the log'));
    return true;
  }

  /** The connection is lost. */
  onResult(error: Error | undefined): void {
    this.#options.onEnd(error ?? new Error('the connection ended'));
  }

  /** For mysql2, should it have something to say to nobody. */
  emit(): boolean {
    return false;
  }
}

/** An error of the server, by its number. */
export class ServerRefusal extends Error {
  readonly errno: number;

  constructor(errno: number, message: string) {
    super(`${message} (${errno})`);
    this.errno = errno;
  }
}

function refusalIn(bytes: Uint8Array): ServerRefusal {
  const errno = (bytes[1] ?? 0) + (bytes[2] ?? 0) * 256;
  // A mark and five letters of state come before the words.
  return new ServerRefusal(errno, new TextDecoder().decode(bytes.subarray(9)));
}

/** COM_BINLOG_DUMP; the four bytes of the frame are written by mysql2. */
class RequestPacket {
  readonly buffer: Buffer;
  readonly offset = 4;

  constructor({ from, serverId }: DumpOptions) {
    this.buffer = Buffer.alloc(15 + Buffer.byteLength(from.file));
    this.buffer.writeUInt8(0x12, 4);
    this.buffer.writeUInt32LE(from.at, 5);
    this.buffer.writeUInt16LE(0, 9);
    this.buffer.writeUInt32LE(serverId, 11);
    this.buffer.write(from.file, 15);
  }

  length(): number {
    return this.buffer.length;
  }

  writeHeader(sequenceId: number): void {
    this.buffer.writeUIntLE(this.buffer.length - 4, 0, 3);
    this.buffer.writeUInt8(sequenceId, 3);
  }
}
