-- Gives up leases of one route that their owners still have.
-- KEYS 1 route
-- ARGV per lease: digest (hex), owner
-- Deletes route:lease:DIGEST (string: owner).
-- Reply: how many were given up. Again: finds nothing to do.

local released = 0
for i = 1, #ARGV, 2 do
  local lease = KEYS[1] .. ':lease:' .. ARGV[i]
  if redis.call('GET', lease) == ARGV[i + 1] then released = released + redis.call('DEL', lease) end
end
return released
