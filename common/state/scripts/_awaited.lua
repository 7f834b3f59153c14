-- What happens to an object in flight, and what it does to the counters. Needs _record, _flight and _balance before it.

-- take_off(root, job, digest, entry, counter, reason): the object is not in flight any more, but counted under `counter` (for
-- 'left_out' with its reason)
local function take_off(root, job, digest, entry, counter, reason)
  redis.call('HDEL', root .. ':flight', digest)
  if entry.missing then count_missing(root, -1) end
  count(job, 'in_flight', -1)
  if counter == 'left_out' then leave_out(job, reason, 1) else count(job, counter, 1) end
end

-- put_on(root, job, digest, entry): the object is in flight from now on. One that failed is failed no more: in the open job it goes back
-- to in flight; in a job that has ended it stays what it was there, and the open job lists it anew.
local function put_on(root, job, digest, entry)
  put_entry(root, digest, entry)
  local mark = mark_at(root, digest)
  if mark then redis.call('HDEL', root .. ':failed', digest) end
  if mark and mark.job == job.id then
    count(job, 'failed', -1)
  else
    count(job, 'listed', 1)
  end
  count(job, 'in_flight', 1)
end
