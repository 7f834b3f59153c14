-- Ends the scan of a job: `published` is final, and the job is done when as many of its tasks have ended.
-- KEYS 1 job (hash)   2 job's bitmap   3 route:scanning (zset)
-- ARGV 1 id   2 now
-- Writes job (state, scanned, settled, finished), the life of job and bitmap; removes the id from KEYS[3].
-- Reply: the state, or nil if there is no such job. Again: only a job in state scanning changes.
--
-- Bits at and above `published` belong to tasks that were sent before a crash and whose numbers were not used again: they do not count.

local job = redis.call('HMGET', KEYS[1], 'state', 'published')
local state, published = job[1], tonumber(job[2] or 0)
if state == 'scanning' then
  local whole = math.floor(published / 8)
  local settled = 0
  if whole > 0 then settled = redis.call('BITCOUNT', KEYS[2], 0, whole - 1) end
  for number = whole * 8, published - 1 do settled = settled + redis.call('GETBIT', KEYS[2], number) end
  state = 'moving'
  redis.call('HSET', KEYS[1], 'state', state, 'scanned', ARGV[2], 'settled', settled)
  if settled >= published then
    state = 'done'
    redis.call('HSET', KEYS[1], 'state', state, 'finished', ARGV[2])
    redis.call('EXPIRE', KEYS[1], 604800)
    redis.call('EXPIRE', KEYS[2], 604800)
  end
end
redis.call('ZREM', KEYS[3], ARGV[1])
return state
