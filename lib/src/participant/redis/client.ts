/** The part of a Redis client that the barrier needs; `Redis` and `Cluster` of ioredis have it. */
export interface RedisClient {
  eval(script: string, keyCount: number, ...keysAndValues: RedisValue[]): Promise<unknown>;
  evalsha(sha1: string, keyCount: number, ...keysAndValues: RedisValue[]): Promise<unknown>;
}

export type RedisValue = string | number;
