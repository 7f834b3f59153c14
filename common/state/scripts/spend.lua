-- Takes units out of a budget that fills up again by itself. They are taken in any case: a balance below 0 is what those who come
-- later have to wait for. The time is Redis's own, so that all workers count by one clock.
-- KEYS 1 budget (hash: left, at; expires when it is full again)
-- ARGV 1 units   2 units that come back in a second   3 the most that there can be
-- Reply: milliseconds to wait before the units may be used.
-- Again: takes them once more. A reply lost on the way makes everybody wait a little longer than they had to.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rate, most = tonumber(ARGV[2]) / 1000, tonumber(ARGV[3])
local known = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = most
if known[1] then left = math.min(most, tonumber(known[1]) + math.max(0, now - tonumber(known[2])) * rate) end
left = left - tonumber(ARGV[1])
redis.call('HSET', KEYS[1], 'left', string.format('%.3f', left), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((most - left) / rate) + 1000)
if left >= 0 then return 0 end
return math.ceil(-left / rate)
