-- include: _record _balance
-- Whoever is to scan a job in this term holds it: what was begun in an earlier term cannot write to it any more.
-- KEYS 1 route
-- ARGV 1 job id   2 term
-- Writes route:current (term). Reads the job.
-- Reply: the job's fields and values; an empty list if it is not the open job, or a later term has written. Again: the same.

local job = held(KEYS[1], current_of(KEYS[1]), ARGV[1], tonumber(ARGV[2]))
return job and redis.call('HGETALL', job.key) or {}
