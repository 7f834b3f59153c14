-- Takes or renews a leadership. Each time that it is taken anew has a number, its term.
-- KEYS 1 leader (string: owner, with expiry)   2 number of the last term (string)
-- ARGV 1 owner   2 milliseconds
-- Reply: the term if the owner leads, else 0. Again: the same term, and it runs from the later call.

if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[2]) end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return tonumber(redis.call('GET', KEYS[2]) or 0)
