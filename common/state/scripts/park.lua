-- Parks a route. Of several times the last counts.
-- KEYS 1 route:parked (hash: until, reason; 8 days; a hold is over: see hold.lua)
-- ARGV 1 until (seconds since 1970)   2 reason
-- Reply: until and reason that count now. Again: the same.

local known = redis.call('HGET', KEYS[1], 'until')
if not known or tonumber(known) < tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'until', ARGV[1], 'reason', ARGV[2])
end
redis.call('EXPIRE', KEYS[1], 691200)
return redis.call('HMGET', KEYS[1], 'until', 'reason')
