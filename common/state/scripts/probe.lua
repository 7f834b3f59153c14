-- Writes a key of its own: whether Redis takes writes now, which a PING does not tell.
-- KEYS 1 probe (string: 1, with expiry)
-- ARGV 1 seconds
-- Reply: 1. Again: the expiry runs from the later call.

redis.call('SET', KEYS[1], 1, 'EX', ARGV[1])
return 1
