-- Holds a route at one end of which everything is refused, for longer each time that a trial in between is refused, too.
-- KEYS 1 route:parked (hash: until, reason, held, tries, by, trial; 8 days)
-- ARGV 1 id of this call   2 now   3 which end refuses what   4 reason   5 first pause   6 longest pause (seconds)
--      7 the time until which the caller's trial has the route; '' where it had no trial
-- Reply: until, reason, held, tries that count now, and 1 if this call has begun the hold, else 0. A route that waits already goes on
-- waiting as it does, but for its trial. Again: the same.

local key = KEYS[1]
local now = tonumber(ARGV[2])
local known = redis.call('HMGET', key, 'until', 'held', 'tries', 'trial')
local waits = known[1] and tonumber(known[1]) > now
if not waits or (known[4] and known[4] == ARGV[7]) then
  local tries = 1
  if known[2] then tries = tonumber(known[3]) + 1 end
  local pause = math.min(tonumber(ARGV[5]) * 2 ^ math.min(tries - 1, 30), tonumber(ARGV[6]))
  redis.call('DEL', key)
  redis.call('HSET', key, 'until', string.format('%.3f', now + pause), 'reason', ARGV[4], 'held', ARGV[3], 'tries', tries, 'by', ARGV[1])
  redis.call('EXPIRE', key, 691200)
end
local found = redis.call('HMGET', key, 'until', 'reason', 'held', 'tries', 'by')
local begun = found[5] == ARGV[1] and found[4] == '1'
return {found[1], found[2], found[3] or '', tonumber(found[4] or 0), begun and 1 or 0}
