-- include: _record _buckets
-- Records a batch of tasks that the queue has confirmed: published records, and the job's counters and checkpoint, as one step.
-- KEYS 1 route (hash)   2 job (hash)   3 job's bitmap
-- ARGV 1 now   2 objects per bucket   3 id of this call   4 checkpoint: '=' and last key, or '' for none   5 checkpoint: tasks so far
--      6 listed   7 unchanged   8 the keys' numbers, 4 bytes each   9.. object key, token (pairs)
-- Writes route, route:N (published), job (after, published, listed, unchanged, call), the life of job and bitmap.
-- Reply: 1 if the job was counted, 0 if this call was counted before, its checkpoint lies behind the job's, or there is no such job.
-- Again: the same records are written again; a call whose id is the stored one does not count. (Not the checkpoint: a publisher
-- may count a page without moving it. One publisher scans a job, and makes no call before the one before it has been answered.)

local route = open_route(KEYS[1])
for i = 9, #ARGV, 2 do
  local record, bucket, value = read(route, number_at(ARGV[8], (i - 7) / 2), ARGV[i])
  if not record.published then route.published = route.published + 1 end
  record.published, record.at = ARGV[i + 1], tonumber(ARGV[1])
  store(route, bucket, ARGV[i], value, record)
end
if #ARGV > 8 then
  grow(route, tonumber(ARGV[2]))
  save(route)
end

local job = redis.call('HMGET', KEYS[2], 'state', 'published', 'call')
local published = tonumber(ARGV[5])
if not job[1] or job[3] == ARGV[3] or published < tonumber(job[2]) then return 0 end
redis.call('HSET', KEYS[2], 'published', published, 'after', ARGV[4], 'call', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'listed', ARGV[6])
redis.call('HINCRBY', KEYS[2], 'unchanged', ARGV[7])
redis.call('EXPIRE', KEYS[2], 2678400)
redis.call('EXPIRE', KEYS[3], 2678400)
return 1
