-- Ends a job whose scan cannot go on.
-- KEYS 1 job (hash)   2 job's bitmap   3 route:scanning (zset)
-- ARGV 1 id   2 now   3 message
-- Writes job (state, message, finished), the life of job and bitmap; removes the id from KEYS[3].
-- Reply: 1 if the job is failed now, else 0. Again: only a job in state scanning changes.

local state = redis.call('HGET', KEYS[1], 'state')
if state == 'scanning' then
  redis.call('HSET', KEYS[1], 'state', 'failed', 'message', ARGV[3], 'finished', ARGV[2])
  redis.call('EXPIRE', KEYS[1], 604800)
  redis.call('EXPIRE', KEYS[2], 604800)
  state = 'failed'
end
redis.call('ZREM', KEYS[3], ARGV[1])
return state == 'failed' and 1 or 0
