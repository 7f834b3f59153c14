-- Renews leases of one route that their owners still have. A lease that ran out stays gone: it may have been released on purpose.
-- KEYS 1 route
-- ARGV per lease: digest (hex), owner, milliseconds
-- Writes the expiry of route:lease:DIGEST (string: owner).
-- Reply: how many were renewed. Again: runs from the later call.

local renewed = 0
for i = 1, #ARGV, 3 do
  local lease = KEYS[1] .. ':lease:' .. ARGV[i]
  if redis.call('GET', lease) == ARGV[i + 1] then
    renewed = renewed + redis.call('PEXPIRE', lease, ARGV[i + 2])
  end
end
return renewed
