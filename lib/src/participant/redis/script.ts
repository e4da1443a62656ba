/**
 * The barrier's protocol as one Lua script around the work, since Redis runs a script as a whole and nothing in between.
 * The rules are those of ../barrier.ts (P1 to P7), and one that is Redis's own:
 *
 * - P9 Redis rolls nothing back. What a script has written when it refuses, fails or answers with too much stays written.
 *   The row then says `broken`, and every further call of the branch is a `barrier_conflict`, for a person to look at.
 *
 * A branch is one hash: from the operation to who put the row there and the answer.
 */
import { createHash } from 'node:crypto';
import { answerBytesMax } from '../answer.ts';

/** Work as Lua, with the barrier around it; made once by {@link redisScript}. */
export interface RedisScript {
  readonly text: string;
  readonly sha1: string;
}

/**
 * Prepares Lua source as the work of calls: `KEYS`, `ARGV` and `redis` are as in any script, and `return refuse('reason')`
 * refuses. It returns nothing, or its result: text, numbers, `true`, tables of these; `false` is null, as Redis means it.
 *
 * **Look first, write then**: refuse or fail before the first write, since Redis keeps what is written (P9). Anything but
 * the well-known commands that read counts as a write.
 *
 * ```ts
 * const take = redisScript(`
 *   if tonumber(redis.call('get', KEYS[1]) or 0) < tonumber(ARGV[1]) then return refuse('sold out') end
 *   return redis.call('decrby', KEYS[1], ARGV[1])`);
 * ```
 */
export function redisScript(lua: string): RedisScript {
  // First, so that a line in an error message is one off at most.
  const text = `local function work(redis, KEYS, ARGV, refuse)\n${lua}\nend\n${protocol}`;
  return { text, sha1: createHash('sha1').update(text).digest('hex') };
}

const reads = `
  get mget getrange getbit strlen bitcount exists type ttl pttl time
  hget hmget hgetall hexists hlen hkeys hvals hstrlen llen lrange lindex lpos
  scard sismember smismember smembers sinter sunion sdiff
  zscore zmscore zcard zcount zrange zrevrange zrangebyscore zrevrangebyscore zrank zrevrank zlexcount
  xlen xrange xrevrange geopos geodist`;

/** Gives back a pair: `answer` and its text, or what went wrong and its words. */
const protocol = `
local rows, op, ttl_ms = KEYS[1], ARGV[1], ARGV[2]
local done = '{"kind":"done"}'
local puts = {}

local function encode(value, depth)
  local kind = type(value)
  if kind == 'string' then return cjson.encode(value) end
  if kind == 'number' then
    if value ~= value or value == math.huge or value == -math.huge then return 'null' end
    return string.format('%.17g', value)
  end
  if kind == 'boolean' then return value and 'true' or 'null' end
  if kind ~= 'table' or depth > 16 then error('the result is no JSON, or nested too deeply', 0) end
  if value.ok then return cjson.encode(value.ok) end
  local parts = {}
  if #value > 0 or next(value) == nil then
    for n = 1, #value do parts[n] = encode(value[n], depth + 1) end
    return '[' .. table.concat(parts, ',') .. ']'
  end
  for name, member in pairs(value) do
    table.insert(parts, cjson.encode(tostring(name)) .. ':' .. encode(member, depth + 1))
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

local function refusal(reason) return '{"kind":"refused","reason":' .. cjson.encode(tostring(reason)) .. '}' end

local function suspended(late, by) return refusal('suspended: ' .. by .. ' came before ' .. late) end

local function find(which)
  local text = redis.call('hget', rows, which)
  if not text then return nil end
  local by, answer = string.match(text, '^(%l+) (.*)$')
  return { by = by, answer = answer, kind = string.match(answer or '', '^{"kind":"(%l+)"') }
end

-- Nothing is put before it is known that the call comes to an answer.
local function put(which, by, answer) table.insert(puts, { which, by .. ' ' .. answer }) end

local function keep()
  for _, one in ipairs(puts) do redis.call('hset', rows, one[1], one[2]) end
  if #puts > 0 then redis.call('pexpire', rows, ttl_ms) end
end

local function conflict(what) return { 'conflict', what } end

local function answered(row)
  if row.kind == 'done' or row.kind == 'refused' then return { 'answer', row.answer } end
  if row.kind == 'broken' then return conflict('has written and then failed: ' .. row.answer) end
  return conflict('has a row that this version cannot read')
end

-- P1, P3
local function take_place()
  local there = find(op)
  if not there then return nil end
  if there.by == op then return answered(there) end
  if op == 'confirm' then return conflict('was asked to confirm after its cancel') end
  return { 'answer', suspended(op, there.by or 'something else') }
end

-- P2, P6
local function undo(undone)
  local first = find(undone)
  if not first then put(undone, op, done) end
  if not first or first.by == op then return { 'answer', done } end
  if first.kind == 'refused' then return { 'answer', done } end
  if first.kind ~= 'done' then return answered(first) end
  if op == 'cancel' then
    local confirmed = find('confirm')
    if confirmed and confirmed.by == 'confirm' then return conflict('was asked to cancel after its confirm') end
    if not confirmed then put('confirm', 'cancel', suspended('confirm', 'cancel')) end
  end
  return take_place()
end

-- P6
local function confirm()
  local tried = find('try')
  if not tried then return conflict('cannot be confirmed: it was never tried') end
  if tried.by ~= 'try' then return conflict('cannot be confirmed: it was cancelled') end
  if tried.kind == 'refused' then return conflict('cannot be confirmed: it refused its try') end
  if tried.kind ~= 'done' then return answered(tried) end
  return take_place()
end

-- P7
local function check()
  local none = refusal('the local transaction of the producer did not commit')
  local sent = find('action')
  if not sent then put('action', 'check', none) end
  if not sent or sent.by == 'check' then return { 'answer', none } end
  if sent.kind == 'done' then return { 'answer', done } end
  return answered(sent)
end

local function admit()
  if op == 'compensate' then return undo('action') end
  if op == 'cancel' then return undo('try') end
  if op == 'confirm' then return confirm() end
  if op == 'check' then return check() end
  return take_place()
end

local wrote = false
local reads = {}
for name in string.gmatch([[${reads}]], '%l+') do reads[name] = true end

local function note(command, reply)
  local failed = type(reply) == 'table' and reply.err
  if not failed and not reads[string.lower(command)] then wrote = true end
  return reply
end

local function run()
  local keys, values = {}, {}
  for n = 2, #KEYS do keys[n - 1] = KEYS[n] end
  for n = 3, #ARGV do values[n - 2] = ARGV[n] end
  local noting = {
    call = function(command, ...) return note(command, redis.call(command, ...)) end,
    pcall = function(command, ...) return note(command, redis.pcall(command, ...)) end,
  }
  local refused
  local function refuse(reason)
    refused = tostring(reason)
    return nil
  end
  local result = work(setmetatable(noting, { __index = redis }), keys, values, refuse)
  if refused then return refusal(refused), refused end
  local answer = result == nil and done or '{"kind":"done","result":' .. encode(result, 1) .. '}'
  if #answer > ${answerBytesMax} then error('the answer has more than ${answerBytesMax} bytes', 0) end
  return answer
end

local known = admit()
if known then
  if known[1] == 'answer' then keep() end
  return known
end
local ok, answer, refused = pcall(run)
local failure = nil
if not ok then failure = type(answer) == 'table' and answer.err or tostring(answer) end
if refused and op ~= 'action' and op ~= 'try' then failure = 'refused: ' .. refused end
if failure == nil and refused and wrote then failure = 'it refused: ' .. refused end
if failure and wrote then
  put(op, op, '{"kind":"broken","reason":' .. cjson.encode(failure) .. '}')
  keep()
  return conflict('has written and then failed: ' .. failure)
end
if failure then return { refused and 'unrefusable' or 'failed', refused or failure } end
put(op, op, answer)
keep()
return { 'answer', answer }
`;
