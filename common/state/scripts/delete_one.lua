-- include: _record _buckets
-- Removes one record of one object.
-- KEYS 1 route
-- ARGV 1 the key's number, 4 bytes   2 object key   3 'published' or 'consumed'
-- Writes route, route:N.
-- Reply: 1 if there was one, else 0. Again: 0, the record is gone.

local route = open_route(KEYS[1])
local bucket = bucket_of(route, number_at(ARGV[1], 1))
local value = redis.call('HGET', bucket, ARGV[2])
if not value or not without(route, bucket, ARGV[2], value, ARGV[3]) then return 0 end
close(route)
return 1
