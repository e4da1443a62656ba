/** One connection that streams the log: reads what is sent, acknowledges, and finds out when nobody is there any more. */
import type { Session } from '../../wake/keep-open.ts';
import { endOrDestroy } from '../../wake/notify.ts';
import { pause, within } from '../../wake/pause.ts';
import type { PgReplicationClient } from './clients.ts';
import { type LogMessage, type Lsn, readMessage, statusUpdate } from './messages.ts';

/** Milliseconds between two acknowledgements; one that is asked for is given at once. */
const statusMs = 1_000;

export interface StreamOptions {
  readonly slot: string;
  readonly publication: string;
  readonly answerMs: number;
  /** Milliseconds of silence after which the server is asked whether it lives. */
  readonly aliveMs: number;
  readonly onMessage: (message: LogMessage) => void;
  readonly acknowledged: () => Lsn | undefined;
}

export class LogStream implements Session {
  readonly ended: Promise<Error>;
  readonly #client: PgReplicationClient;
  readonly #end: (why: Error) => void;
  readonly #closing = new AbortController();
  #heardMs = performance.now();
  #sent: Lsn | undefined;
  #acknowledged: () => Lsn | undefined = () => undefined;

  constructor(client: PgReplicationClient) {
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.ended = promise;
    this.#end = resolve;
    this.#client = client;
    client.on('error', resolve);
    client.on('end', () => resolve(new Error('the server ended the connection')));
  }

  /** Aborts when it is closed. */
  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  async begin({
    slot,
    publication,
    answerMs,
    aliveMs,
    onMessage,
    acknowledged,
  }: StreamOptions): Promise<void> {
    const { connection } = this.#client;
    const started = Promise.withResolvers<void>();
    this.#acknowledged = acknowledged;
    connection.on('replicationStart', started.resolve);
    connection.on('copyData', ({ chunk }) => {
      this.#heardMs = performance.now();
      const message = readMessage(chunk);
      if (this.signal.aborted) return;
      onMessage(message);
      if (message.kind === 'alive' && message.isAsking) this.#acknowledge({ isAsking: false });
    });
    // From the position the slot remembers.
    const options = `proto_version '1', publication_names '"${publication}"'`;
    this.#client.query(`START_REPLICATION SLOT "${slot}" LOGICAL 0/0 (${options})`).then(
      () => this.#end(new Error('the server ended the stream')),
      (error: unknown) => {
        started.reject(error);
        this.giveUp(error);
      },
    );
    await within(answerMs, 'START_REPLICATION', started.promise);
    this.#keepAlive(aliveMs, answerMs).catch(this.#end);
  }

  giveUp(error: unknown): void {
    this.#end(error instanceof Error ? error : new Error(String(error)));
  }

  close(): void {
    if (this.signal.aborted) return;
    if (this.#acknowledged() !== this.#sent) this.#acknowledge({ isAsking: false });
    this.#closing.abort();
    endOrDestroy(this.#client);
  }

  /** The server's own patience (wal_sender_timeout) is no less than a few seconds. */
  async #keepAlive(aliveMs: number, answerMs: number): Promise<void> {
    let askedMs = 0;
    while (await pause(Math.min(statusMs, aliveMs), this.signal)) {
      const nowMs = performance.now();
      const silentMs = nowMs - this.#heardMs;
      if (silentMs > aliveMs + answerMs)
        throw new Error(`the server said nothing for ${Math.round(silentMs)} ms`);
      const isAsking = silentMs > aliveMs && askedMs < this.#heardMs;
      if (isAsking) askedMs = nowMs;
      if (isAsking || this.#acknowledged() !== this.#sent) this.#acknowledge({ isAsking });
    }
  }

  #acknowledge({ isAsking }: { readonly isAsking: boolean }): void {
    this.#sent = this.#acknowledged();
    this.#client.connection.stream.write(statusUpdate(this.#sent ?? 0n, { isAsking }));
  }
}
