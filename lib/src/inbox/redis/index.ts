/** `settle/inbox/redis`: messages are done once as far as a lease can see to it. Over ioredis or node-redis. */
export {
  redisInbox,
  type RedisInbox,
  type RedisInboxOptions,
  type RedisLease,
  type RedisOnceOptions,
} from './redis-inbox.ts';
export type { IoredisClient, NodeRedisClient, RedisStreamClient } from '../../util/redis-commands.ts';
