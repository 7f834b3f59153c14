-- Lets an agreement end, if it is still on this value.
-- KEYS 1 agreement (string: value, with expiry)
-- ARGV 1 value   2 milliseconds from now, 0 for at once
-- Reply: 1 if it was on this value, else 0. Again: runs from the later call, or finds nothing to do.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
