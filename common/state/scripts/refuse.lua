-- include: _record _flight _balance
-- What a listing names and no task can carry has failed, once for each job and not once for each scan.
-- KEYS 1 route
-- ARGV 1 job id   2 term   3 now   4 the names' digests, 20 bytes each   5.. token of each: why it failed
-- Writes route:failed, the job (listed, failed, news).
-- Reply: 1, or 0 if the job is lost. Again: nothing is new.

local root, now = KEYS[1], tonumber(ARGV[3])
local current = current_of(root)
local job = held(root, current, ARGV[1], tonumber(ARGV[2]))
if not job then return 0 end
local new = false
for n = 1, #ARGV[4] / 20 do
  local digest, token = digest_at(ARGV[4], n), ARGV[n + 4]
  local mark = mark_at(root, digest)
  if not mark or mark.token ~= token then new = true end
  if not mark or mark.job ~= job.id then
    count(job, 'listed', 1)
    count(job, 'failed', 1)
  end
  put_mark(root, digest, {scan = current.scan, job = job.id, token = token})
end
if new then redis.call('HSET', job.key, 'news', 1) end
job.touched = true
save_jobs(root, current, now)
return 1
