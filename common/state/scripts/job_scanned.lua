-- include: _record _balance
-- Ends the scan of a job: it ends with its last object in flight, at once where nothing is. Or begins the next scan of it.
-- KEYS 1 route
-- ARGV 1 job id   2 term   3 now   4 the scan that has ended, counted from the job's first   5 1 if it is to be scanned again
-- Writes the job (state, scanned, finished; or scans), route:current, route:early.
-- Reply: 1; 0 if the job is lost. Again: only a job in state scanning changes, and only in this scan.

local root, now = KEYS[1], tonumber(ARGV[3])
local current = current_of(root)
local job = job_named(root, ARGV[1])
if job and job.finished then return 1 end
job = held(root, current, ARGV[1], tonumber(ARGV[2]))
if not job then return 0 end
if job.state ~= 'scanning' or job.scans ~= tonumber(ARGV[4]) then return 1 end
redis.call('DEL', root .. ':early')
redis.call('HDEL', job.key, 'remember', 'gaps')
if ARGV[5] == '1' then
  redis.call('HINCRBY', root .. ':current', 'scan', 1)
  redis.call('HSET', job.key, 'scans', job.scans + 1)
  redis.call('HDEL', job.key, 'after', 'call')
else
  redis.call('HSET', job.key, 'state', 'moving', 'scanned', now)
end
job.touched = true
save_jobs(root, current, now)
return 1
