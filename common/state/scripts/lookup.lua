-- include: _record _buckets _workers
-- What is known of many objects of one route.
-- KEYS 1 route
-- ARGV 1 the keys' numbers, 4 bytes each   2.. object keys
-- Reads route, route:N, route:workers. Writes nothing.
-- Reply: {value or nil per key}, {worker number, name, ...}

local route = open_route(KEYS[1])
local values = {}
local names, add_name = worker_names(KEYS[1])
for i = 2, #ARGV do
  local value = redis.call('HGET', bucket_of(route, number_at(ARGV[1], i - 1)), ARGV[i])
  values[i - 1] = value
  if value and byte(value, 1) % 4 ~= 0 then add_name((varint(value, 2))) end
end
return {values, names}
