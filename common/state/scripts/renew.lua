-- Renews leases of one route that their owners still have. A lease that ran out stays gone: it may have been released on purpose.
-- KEYS 1 route
-- ARGV per lease: digest (hex), owner, milliseconds
-- Writes the expiry of route:lease:DIGEST (string: owner). Deletes the owner of one that ran out from route:begun:DIGEST (see claim.lua):
-- it lives, and Redis or the worker stood still for a while.
-- Reply: how many were renewed. Again: runs from the later call.

local renewed = 0
for i = 1, #ARGV, 3 do
  local lease = KEYS[1] .. ':lease:' .. ARGV[i]
  if redis.call('GET', lease) == ARGV[i + 1] then
    renewed = renewed + redis.call('PEXPIRE', lease, ARGV[i + 2])
  else
    redis.call('HDEL', KEYS[1] .. ':begun:' .. ARGV[i], 'by ' .. ARGV[i + 1])
  end
end
return renewed
