-- Ends a trial of a held route.
-- KEYS 1 route:parked (hash, see hold.lua)
-- ARGV 1 the trial's `until`   2 now   3 '1': it went well, the hold is over; '0': it said nothing, the next one may begin
-- Writes or deletes KEYS 1.
-- Reply: 1 if this call has ended the hold, else 0. Again: 0, and nothing changes.

local key = KEYS[1]
if ARGV[3] == '1' then
  if redis.call('HEXISTS', key, 'held') == 0 then return 0 end
  return redis.call('DEL', key)
end
if redis.call('HGET', key, 'trial') ~= ARGV[1] then return 0 end
redis.call('HSET', key, 'until', ARGV[2])
redis.call('HDEL', key, 'trial')
return 0
