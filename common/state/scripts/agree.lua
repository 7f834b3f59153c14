-- Agrees on a value: that of whoever comes first counts for everybody.
-- KEYS 1 agreement (string: value, with expiry)
-- ARGV 1 proposal   2 milliseconds
-- Reply: the value that counts. Again: the same, and the expiry runs from the later call.

if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return ARGV[1] end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('GET', KEYS[1])
