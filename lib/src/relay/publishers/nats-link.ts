/** The part of a connection of @nats-io/transport-node that is used. */
export interface NatsConnection {
  isClosed(): boolean;
  status(): AsyncIterable<{ readonly type: string }>;
}

/** Whether there is a connection now. While there is none, the client would keep what is sent and send it much later. */
export class NatsLink {
  readonly #connection: NatsConnection;
  #state: LinkState = up();

  constructor(connection: NatsConnection) {
    this.#connection = connection;
    void this.#follow();
  }

  /** Why nothing can be sent; undefined when it can. */
  get whyDown(): string | undefined {
    if (this.#connection.isClosed()) return 'the connection to NATS is closed';
    return this.#state.kind === 'down' ? 'there is no connection to NATS' : undefined;
  }

  /** Resolves when the connection that there is now is lost. */
  get lost(): Promise<void> {
    return this.#state.kind === 'up' ? this.#state.lost.promise : Promise.resolve();
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.#connection.status()) {
      if (type === 'disconnect') this.#lose();
      else if (type === 'reconnect') this.#state = up();
    }
    this.#lose();
  }

  #lose(): void {
    if (this.#state.kind === 'up') this.#state.lost.resolve();
    this.#state = { kind: 'down' };
  }
}

type LinkState =
  | { readonly kind: 'up'; readonly lost: PromiseWithResolvers<void> }
  | { readonly kind: 'down' };

function up(): LinkState {
  return { kind: 'up', lost: Promise.withResolvers<void>() };
}
