-- include: _record _buckets _workers
-- The next buckets of a route in the order of digests. A bucket holds a whole range of digests, so that the walk needs to remember only
-- where it is, and misses and repeats nothing while buckets split.
-- KEYS 1 route
-- ARGV 1 first 32 bits of the digest to go on from   2 entries wanted (whole buckets: somewhat more may come)
-- Reads route, route:N, route:workers. Writes nothing.
-- Reply: where to go on (the first 32 bits of a digest; -1 at the end), {key, value, ...}, {worker number, name, ...}

local route = open_route(KEYS[1])
local position, wanted, probes = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
local entries = {}
local names, add_name = worker_names(KEYS[1])
while position >= 0 and #entries < wanted * 2 and probes < 500 do
  local bucket, width = bucket_at(route, position)
  local found = redis.call('HGETALL', bucket)
  for i = 1, #found do entries[#entries + 1] = found[i] end
  for i = 2, #found, 2 do
    if byte(found[i], 1) % 4 ~= 0 then add_name((varint(found[i], 2))) end
  end
  position = (floor(position / width) + 1) * width
  if position >= 4294967296 then position = -1 end
  probes = probes + 1
end
return {position, entries, names}
