-- Opens a job in state scanning.
-- KEYS 1 job (hash)   2 route:jobs (zset)   3 route:scanning (zset)
-- ARGV 1 id   2 route   3 kind   4 now   5 prefix of the route's job keys
-- Writes the three keys; of the ten oldest jobs in KEYS[2] drops those whose record has expired.
-- Reply: 1. Again: the job is there, nothing changes.

if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'route', ARGV[2], 'kind', ARGV[3], 'state', 'scanning', 'started', ARGV[4], 'published', 0)
redis.call('EXPIRE', KEYS[1], 2678400)
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, 9)) do
  if redis.call('EXISTS', ARGV[5] .. id) == 0 then
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
  end
end
return 1
