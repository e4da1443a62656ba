/**
 * The steps of the inbox in Redis. A script is one step: nothing comes in between, and no crash ends it half-way.
 *
 * A message is one hash: `state` (`working` or `done`), `token` (grows with each take-over), `until` (of the lease, in
 * milliseconds by the clock of Redis) and `result`. They are sent as text each time: they are short, and Redis keeps them.
 */

const now = `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** KEYS: the message. ARGV: lease, time to keep. Gives back `done` and the result, `busy` and for how long, or `yours` and the token. */
export const take = `${now}
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'done' then return {'done', redis.call('HGET', KEYS[1], 'result')} end
local rest = tonumber(redis.call('HGET', KEYS[1], 'until') or 0) - now
if state == 'working' and rest > 0 then return {'busy', tostring(rest)} end
local token = redis.call('HINCRBY', KEYS[1], 'token', 1)
redis.call('HSET', KEYS[1], 'state', 'working', 'until', string.format('%d', now + ARGV[1]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'yours', tostring(token)}`;

/** Whether the lease with this token is still the last that was given. */
const isOurs = `redis.call('HGET', KEYS[1], 'state') == 'working' and redis.call('HGET', KEYS[1], 'token') == ARGV[1]`;

/** KEYS: the message. ARGV: token, lease. */
export const extend = `${now}
if not (${isOurs}) then return 0 end
redis.call('HSET', KEYS[1], 'until', string.format('%d', now + ARGV[2]))
return 1`;

/** KEYS: the message. ARGV: token, time to keep, and the result if there is one. */
export const finish = `if not (${isOurs}) then return 0 end
redis.call('HSET', KEYS[1], 'state', 'done')
if ARGV[3] then redis.call('HSET', KEYS[1], 'result', ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`;

/** KEYS: the message. ARGV: token. The token stays, so that the next one is greater. */
export const release = `if ${isOurs} then redis.call('HSET', KEYS[1], 'until', '0') end
return 1`;

/** KEYS: order and letters. ARGV: id, the letter without its time. */
export const bury = `${now}
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1`;

/** KEYS: order and letters. ARGV: the earliest time, how many to pass over, how many. Gives back id, time and letter of each in turn. */
export const look = `local found = {}
local places = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[3])
for at = 1, #places, 2 do
  table.insert(found, places[at])
  table.insert(found, places[at + 1])
  table.insert(found, redis.call('HGET', KEYS[2], places[at]) or '')
end
return found`;

/** KEYS: order and letters. ARGV: pairs of id and time. Removes those that have not died again since; gives back how many. */
export const exhume = `local count = 0
for at = 1, #ARGV, 2 do
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[at]) or 0) == tonumber(ARGV[at + 1]) then
    redis.call('ZREM', KEYS[1], ARGV[at])
    redis.call('HDEL', KEYS[2], ARGV[at])
    count = count + 1
  end
end
return count`;
