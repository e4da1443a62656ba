import { createHash } from 'node:crypto';

/**
 * Adds entries to one stream, in order, and stops at the first that Redis refuses: what stands behind it is not added. A
 * script is one step, so no crash ends it half-way either.
 *
 * KEYS: the stream. ARGV: for each entry how many arguments of XADD follow, then those. Gives back the ids of the entries
 * that were added, and why the next one was not.
 */
const text = `local ids = {}
local at = 1
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  local reply = redis.pcall('XADD', KEYS[1], unpack(ARGV, at + 1, at + count))
  if type(reply) == 'table' then return {ids, reply.err} end
  ids[#ids + 1] = reply
  at = at + count + 1
end
return {ids}`;

export const appendScript = { text, sha1: createHash('sha1').update(text).digest('hex') } as const;
