-- The oldest job of a route whose scan has not ended.
-- KEYS 1 route:scanning (zset)
-- ARGV 1 prefix of the route's job keys
-- Reads the job (hash). Drops jobs from KEYS[1] whose record has expired.
-- Reply: the job's fields and values, or an empty list.

for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local fields = redis.call('HGETALL', ARGV[1] .. id)
  if #fields > 0 then return fields end
  redis.call('ZREM', KEYS[1], id)
end
return {}
