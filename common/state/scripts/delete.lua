-- include: _record _buckets
-- Removes the records of some buckets of a route, in the order of digests (see page.lua).
-- KEYS 1 route   2 route:deleting:ID
-- ARGV 1 first 32 bits of the digest to go on from   2 'published', 'consumed', or '' for both   3 entries to look at
-- Writes route, route:N; KEYS[2] (string: records removed by this deletion, 1 hour). A route without records goes back to one bucket.
-- Leases, jobs, failures and worker names stay.
-- Reply: where to go on (-1 at the end), records removed so far by this deletion.
-- Again: removes nothing twice, and the count, being kept in Redis, stays exact.
-- Removals stand before writes: a script whose first write frees memory is allowed when memory is full.

local route = open_route(KEYS[1])
local position, kind, wanted = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local removed, seen, probes = 0, 0, 0

local function clear(bucket)
  local values = redis.call('HVALS', bucket)
  for i = 1, #values do
    local published, consumed = has(values[i])
    if published then route.published, removed = route.published - 1, removed + 1 end
    if consumed then route.consumed, removed = route.consumed - 1, removed + 1 end
  end
  route.objects = route.objects - #values
  if #values > 0 then redis.call('UNLINK', bucket) end
  return #values
end

local function strip(bucket)
  local entries = redis.call('HGETALL', bucket)
  for i = 1, #entries, 2 do
    if without(route, bucket, entries[i], entries[i + 1], kind) then removed = removed + 1 end
  end
  return #entries / 2
end

while position >= 0 and seen < wanted and probes < 500 and route.objects > 0 do
  local bucket, width = bucket_at(route, position)
  seen = seen + (kind == '' and clear(bucket) or strip(bucket))
  position = (floor(position / width) + 1) * width
  if position >= 4294967296 then position = -1 end
  probes = probes + 1
end
if route.objects == 0 then position = -1 end
if removed == 0 then return {position, tonumber(redis.call('GET', KEYS[2]) or 0)} end
close(route)
local total = redis.call('INCRBY', KEYS[2], removed)
redis.call('EXPIRE', KEYS[2], 3600)
return {position, total}
