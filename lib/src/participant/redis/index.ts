/** `settle/participant/redis`: the barrier in Redis, as one Lua script around the work, over ioredis. */
export type { RedisClient, RedisValue } from './client.ts';
export * from './redis-barrier.ts';
export { redisScript, type RedisScript } from './script.ts';
