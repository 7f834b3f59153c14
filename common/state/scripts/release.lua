-- Gives up leases of one route that their owners still have.
-- KEYS 1 route
-- ARGV per lease: digest (hex), owner
-- Deletes route:lease:DIGEST (string: owner), and the owner from route:begun:DIGEST (see claim.lua).
-- Reply: how many were given up. Again: finds nothing to do.

local released = 0
for i = 1, #ARGV, 2 do
  local lease = KEYS[1] .. ':lease:' .. ARGV[i]
  local begun = KEYS[1] .. ':begun:' .. ARGV[i]
  if redis.call('HDEL', begun, 'by ' .. ARGV[i + 1]) == 1 and redis.call('HLEN', begun) == 1 then redis.call('DEL', begun) end
  if redis.call('GET', lease) == ARGV[i + 1] then released = released + redis.call('DEL', lease) end
end
return released
