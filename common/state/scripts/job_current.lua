-- The open job of a route.
-- KEYS 1 route
-- Reads route:current, the job. Writes nothing.
-- Reply: the job's fields and values, or an empty list.

local id = redis.call('HGET', KEYS[1] .. ':current', 'job')
return id and redis.call('HGETALL', KEYS[1] .. ':job:' .. id) or {}
