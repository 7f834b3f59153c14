-- Whether a failure is on the error topic already, and counts it.
-- KEYS 1 route:reported:DIGEST (hash: what, times, first; 6 days from when the report was sent)
-- ARGV 1 what has failed how: version and category   2 now   3 '1': its report has been sent; '0': is it there?
-- Reply: 1 if it is there, else 0. Again: a question counts once more.

local key = KEYS[1]
local known = redis.call('HMGET', key, 'what', 'times', 'first')
if ARGV[3] == '0' then
  if known[1] ~= ARGV[1] then return 0 end
  redis.call('HINCRBY', key, 'times', 1)
  return 1
end
if known[1] == ARGV[1] then return 1 end
redis.call('DEL', key)
redis.call('HSET', key, 'what', ARGV[1], 'times', (tonumber(known[2]) or 0) + 1, 'first', known[3] or ARGV[2])
redis.call('EXPIRE', key, 518400)
return 1
