-- include: _record _balance
-- The job in which a route is to be scanned: the open one, or a new one.
-- KEYS 1 route
-- ARGV 1 id of a new job   2 route's name   3 kind   4 now
-- Writes route:current (job, scan), the job, route:jobs; of the ten oldest jobs in route:jobs drops those whose record has expired.
-- Reply: the fields and values of the job. Again: it is scanning already, nothing changes.
--
-- A route has one open job at most. One whose scan has ended and that still has objects in flight is scanned again; one whose scan has
-- failed ends, and what it has in flight goes on in the new one. So does what is in flight when a job has expired.

local root, now = KEYS[1], tonumber(ARGV[4])
local current = current_of(root)
local job = job_named(root, current.job)

local function reply(key) return redis.call('HGETALL', key) end

local function scan_again()
  redis.call('HINCRBY', root .. ':current', 'scan', 1)
  redis.call('HSET', job.key, 'state', 'scanning', 'kind', ARGV[3], 'scans', job.scans + 1)
  redis.call('HDEL', job.key, 'after', 'scanned', 'call', 'gaps')
  redis.call('EXPIRE', job.key, LIFE_OPEN)
  return reply(job.key)
end

local function hand_on()
  count(job, 'in_flight', -redis.call('HLEN', root .. ':flight'))
  leave_out(job, 'next_job', redis.call('HLEN', root .. ':flight'))
  redis.call('HDEL', root .. ':current', 'job')
  redis.call('DEL', root .. ':early')
  current.job = false
  save_jobs(root, current, now)
end

if job and job.state == 'scanning' then return reply(job.key) end
if job and job.state == 'moving' then return scan_again() end
if job then hand_on() end

local key, inherited = root .. ':job:' .. ARGV[1], redis.call('HLEN', root .. ':flight')
redis.call('HSET', key, 'id', ARGV[1], 'route', ARGV[2], 'kind', ARGV[3], 'state', 'scanning', 'started', now, 'published', 0, 'scans', 1)
if inherited > 0 then redis.call('HSET', key, 'listed', inherited, 'in_flight', inherited, 'remember', 1, 'news', 1) end
redis.call('EXPIRE', key, LIFE_OPEN)
redis.call('HSET', root .. ':current', 'job', ARGV[1])
redis.call('HINCRBY', root .. ':current', 'scan', 1)
redis.call('ZADD', root .. ':jobs', now, ARGV[1])
for _, id in ipairs(redis.call('ZRANGE', root .. ':jobs', 0, 9)) do
  if redis.call('EXISTS', root .. ':job:' .. id) == 0 then redis.call('ZREM', root .. ':jobs', id) end
end
return reply(key)
