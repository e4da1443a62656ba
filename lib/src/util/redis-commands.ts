/** The part of a Redis client that can send any command: `Redis` and `Cluster` of ioredis have it, and clients of node-redis. */
export type RedisStreamClient = IoredisClient | NodeRedisClient;

export interface IoredisClient {
  readonly status: string;
  call(command: string, ...args: string[]): Promise<unknown>;
}

export interface NodeRedisClient {
  readonly isReady: boolean;
  sendCommand(args: readonly string[]): Promise<unknown>;
}

/** One way to talk to either. */
export interface RedisCommands {
  /** Whether a command would be sent now, and not wait in the client for a connection. */
  isReady(): boolean;
  send(...command: readonly [name: string, ...args: string[]]): Promise<unknown>;
}

export function redisCommands(client: RedisStreamClient): RedisCommands {
  return 'call' in client
    ? {
        // `wait`: connects with its first command.
        isReady: () => client.status === 'ready' || client.status === 'wait',
        send: (name, ...args) => client.call(name, ...args),
      }
    : {
        isReady: () => client.isReady,
        send: (...command) => client.sendCommand(command),
      };
}

/** The code that an answer of Redis begins with, such as `WRONGTYPE`; undefined for an error that is no answer. */
export function replyCodeOf(message: string): string | undefined {
  return /^-?([A-Z][A-Z0-9]+) /.exec(message)?.[1];
}
