-- Ends or extends deliveries, each atomically and in the order given.
--
-- KEYS[1]  stream     the queue
-- KEYS[2]  zset       delayed messages (see take.lua)
-- KEYS[3]  stream     the errors
-- KEYS[4]  hashes     their subjects (see _file.lua)
-- ARGV     group, consumer, then four for each delivery: verb, id, delivery count, and
--            ack     ""
--            extend  ""
--            nack    delay in ms
--            reject  12 bytes that name its subject, then the report
--
-- A delivery is still its holder's when the pending list names this consumer and this delivery count: after a lease has run out
-- the same message may be with another consumer, or with the same one a second time. Only ack takes effect even then: the
-- work is done and recorded, whoever did it.

local stream, delayed, errors = KEYS[1], KEYS[2], KEYS[3]
local group, consumer = ARGV[1], ARGV[2]

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function held(id, count)
  local pending = redis.call('XPENDING', stream, group, id, id, 1, consumer)
  return pending[1] and pending[1][4] == tonumber(count)
end

local function forget(id)
  redis.call('XACK', stream, group, id)
  redis.call('XDEL', stream, id)
end

local function hand_back(id, count, delay)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then -- somebody trimmed it away
    return forget(id)
  end
  local attempts, payload = tonumber(count), nil
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'payload' then
      payload = entry[2][i + 1]
    elseif entry[2][i] == 'attempts' then
      attempts = attempts + (tonumber(entry[2][i + 1]) or 0)
    end
  end
  if not payload then -- not sent by us: it stays as it is, and its lease runs out by itself
    return
  end
  if delay > 0 then
    redis.call('ZADD', delayed, now + delay, attempts .. ' ' .. id .. ' ' .. payload)
  else
    redis.call('XADD', stream, '*', 'attempts', attempts, 'payload', payload)
  end
  forget(id)
end

for i = 3, #ARGV, 4 do
  local verb, id, count, argument = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if verb == 'ack' then
    forget(id)
  elseif held(id, count) then
    if verb == 'extend' then
      redis.call('XCLAIM', stream, group, consumer, 0, id, 'JUSTID')
    elseif verb == 'nack' then
      hand_back(id, count, tonumber(argument))
    elseif verb == 'reject' then
      file(errors, KEYS[4], argument, now)
      forget(id)
    end
  end
end
