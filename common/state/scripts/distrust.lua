-- include: _record _buckets
-- Removes what is known of objects that the destination does not hold as their receipts say: they are new to the next comparison.
-- KEYS 1 route
-- ARGV 1 the keys' numbers, 4 bytes each   2 key of the job that counts them   3.. object key, value as it was compared (pairs)
-- Writes route, route:N, the job (distrusted).
-- Reply: {positions, from 0, of those that have another receipt by now: they are as they were}
-- Again: what is removed has no receipt, and is not counted a second time.
-- Removals stand before writes: a script whose first write frees memory is allowed when memory is full.

local route, left, removed = open_route(KEYS[1]), {}, 0
for i = 3, #ARGV, 2 do
  local n = (i - 1) / 2
  local seen, record, bucket, value = parse(ARGV[i + 1]), read(route, number_at(ARGV[1], n), ARGV[i])
  if record.consumed == seen.consumed and record.receipt == seen.receipt then
    redis.call('HDEL', bucket, ARGV[i])
    route.consumed, route.objects, removed = route.consumed - 1, route.objects - 1, removed + 1
    if record.published then route.published = route.published - 1 end
  elseif record.consumed then
    left[#left + 1] = n - 1
  end
end
if removed > 0 then
  close(route)
  if redis.call('EXISTS', ARGV[2]) == 1 then redis.call('HINCRBY', ARGV[2], 'distrusted', removed) end
end
return left
