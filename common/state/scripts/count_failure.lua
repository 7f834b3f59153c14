-- Counts one more failure of one version of an object.
-- KEYS 1 route
-- ARGV 1 digest (hex)   2 version token
-- Writes route:failures:DIGEST (hash: token -> count; 7 days from the last failure). Another version's count is dropped.
-- Deletes route:begun:DIGEST (see claim.lua): whoever can say that it failed has not died of it.
-- Reply: how often this version has failed by now.
-- Again: counts once more. A reply lost on the way makes one failure look like two, which brings the last attempt forward by one.

local key = KEYS[1] .. ':failures:' .. ARGV[1]
local count = redis.call('HINCRBY', key, ARGV[2], 1)
if redis.call('HLEN', key) > 1 then
  redis.call('DEL', key)
  redis.call('HSET', key, ARGV[2], count)
end
redis.call('EXPIRE', key, 604800)
redis.call('DEL', KEYS[1] .. ':begun:' .. ARGV[1])
return count
