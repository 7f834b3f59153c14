-- include: _record _flight _balance _awaited
-- At the end of a full scan: what is in flight and was not listed any more is gone, if a worker has missed it or its task is lost; and
-- what failed and was not listed any more needs no mark.
-- KEYS 1 route
-- ARGV 1 job id   2 term   3 now   4 time before which a task counts as lost   5 'flight' or 'failed'   6 cursor   7 how many at once
-- Writes route:flight, route:failed, route:current (missing), the job.
-- Reply: {1, next cursor ('0' at the end)}; {0} if the job is lost. Again: what has been decided is not there any more.

local root, now, lost = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local current = current_of(root)
local job = held(root, current, ARGV[1], tonumber(ARGV[2]))
if not job then return {0} end
local found = redis.call('HSCAN', root .. ':' .. ARGV[5], ARGV[6], 'COUNT', ARGV[7])
for i = 1, #found[2], 2 do
  local digest = found[2][i]
  if ARGV[5] == 'flight' then
    local entry = entry_at(root, digest)
    if entry and entry.scan < current.scan and (entry.missing or entry.at < lost) then
      take_off(root, job, digest, entry, 'left_out', 'gone')
      redis.call('HSET', job.key, 'news', 1)
    end
  else
    local mark = mark_at(root, digest)
    if mark and mark.scan < current.scan then
      redis.call('HDEL', root .. ':failed', digest)
      if mark.job == job.id then
        count(job, 'failed', -1)
        leave_out(job, 'gone', 1)
      end
    end
  end
end
save_jobs(root, current, now)
return {1, found[1]}
