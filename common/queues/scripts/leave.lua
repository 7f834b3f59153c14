-- Removes consumers that hold nothing: the one that leaves, and those that have not been heard of for a long time.
-- A consumer with pending messages must stay: removing it would drop them from the pending list, and nobody would get them again.
--
-- KEYS[1]  stream     the queue
-- ARGV     group, consumer that leaves ("" = none does), idle time in ms after which a consumer counts as gone
-- Returns  how many were removed

local stream, group, leaving, gone = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local removed = 0
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for i = 1, #fields, 2 do
    consumer[fields[i]] = fields[i + 1]
  end
  if consumer.pending == 0 and (consumer.name == leaving or consumer.idle > gone) then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer.name)
    removed = removed + 1
  end
end
return removed
