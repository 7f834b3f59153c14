-- Takes or renews a leadership.
-- KEYS 1 leader (string: owner, with expiry)
-- ARGV 1 owner   2 milliseconds
-- Reply: 1 if the owner leads, else 0. Again: runs from the later call.

if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
