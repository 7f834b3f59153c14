-- Hands out messages: promotes delayed ones that are due, takes over those whose lease has run out, then takes new ones.
--
-- KEYS[1]  stream     the queue; the group's pending list holds the leases (idle time = time since the last extension)
-- KEYS[2]  zset       delayed messages, "<earlier attempts> <id> <payload>" by the time in ms at which they are due
-- ARGV     group, consumer, most, lease in ms, cursor into the pending list ("" = do not look for expired leases now)
-- Returns  {{id, attempts in this life of the message, fields}...}, next cursor ("0-0" = seen to the end), ms until the next
--          delayed message is due (-1: none)

local stream, delayed = KEYS[1], KEYS[2]
local group, consumer, lease, cursor = ARGV[1], ARGV[2], ARGV[4], ARGV[5]
local most = tonumber(ARGV[3])
local PROMOTED_AT_ONCE, STEPS_AT_ONCE = 500, 50

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

for _, member in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, PROMOTED_AT_ONCE)) do
  local first = string.find(member, ' ', 1, true)
  local second = string.find(member, ' ', first + 1, true)
  local added = redis.pcall('XADD', stream, '*', 'attempts', string.sub(member, 1, first - 1), 'payload', string.sub(member, second + 1))
  if type(added) == 'table' and added.err then
    if not string.find(added.err, 'OOM', 1, true) then return added end
    break -- Redis is full: what is in the stream must be handed out all the same, or it would never be drained
  end
  redis.call('ZREM', delayed, member)
end

local taken = {}

if cursor ~= '' then
  local steps = 0
  repeat
    local reply = redis.call('XAUTOCLAIM', stream, group, consumer, lease, cursor, 'COUNT', most - #taken)
    cursor = reply[1]
    for _, entry in ipairs(reply[2]) do
      if entry then -- Redis 6.2 answers nil for an entry that somebody trimmed away
        local pending = redis.call('XPENDING', stream, group, entry[1], entry[1], 1)
        taken[#taken + 1] = {entry[1], pending[1][4], entry[2]}
      end
    end
    steps = steps + 1
  until cursor == '0-0' or #taken >= most or steps >= STEPS_AT_ONCE
end

if #taken < most then
  local reply = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', most - #taken, 'STREAMS', stream, '>')
  if reply then
    for _, entry in ipairs(reply[1][2]) do
      taken[#taken + 1] = {entry[1], 1, entry[2]}
    end
  end
end

local due = -1
local nearest = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if nearest[2] then
  due = math.max(0, tonumber(nearest[2]) - now)
end

return {taken, cursor, due}
