-- include: _record _balance
-- Ends the scan of a job that cannot go on. The job is failed; it ends with its last object in flight.
-- KEYS 1 route
-- ARGV 1 job id   2 term   3 now   4 message
-- Writes the job (state, message, finished), route:current.
-- Reply: 1 if the job is failed now, else 0. Again: only a job in state scanning changes.

local root, now = KEYS[1], tonumber(ARGV[3])
local current = current_of(root)
local job = job_named(root, ARGV[1])
if job and job.state == 'failed' then return 1 end
job = held(root, current, ARGV[1], tonumber(ARGV[2]))
if not job or job.state ~= 'scanning' then return 0 end
redis.call('HSET', job.key, 'state', 'failed', 'message', ARGV[4])
job.touched = true
save_jobs(root, current, now)
return 1
