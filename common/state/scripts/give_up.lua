-- Gives up a leadership.
-- KEYS 1 leader (string: owner)
-- ARGV 1 owner
-- Reply: 1 if the owner led, else 0. Again: 0.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
