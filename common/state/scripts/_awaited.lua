-- What happens to an object in flight, and what it does to the counters. Needs _record, _flight and _balance before it.

-- take_off(root, job, digest, entry, counter, reason): the object is not in flight any more, but counted under `counter` (for
-- 'left_out' with its reason)
local function take_off(root, job, digest, entry, counter, reason)
  redis.call('HDEL', root .. ':flight', digest)
  if entry.missing then count_missing(root, -1) end
  count(job, 'in_flight', -1)
  if counter == 'left_out' then leave_out(job, reason, 1) else count(job, counter, 1) end
end

-- unrecorded(job, number) -> whether the page with the task of this number has not been recorded, or never will: pages are recorded in the
-- order of their numbers, and `gaps` (from-to;...) are the numbers that publishers had reserved and not recorded when they died
local function unrecorded(job, number)
  if number >= job.recorded then return true end
  for from, to in string.gmatch(job.gaps, '(%d+)-(%d+)') do
    if number >= tonumber(from) and number < tonumber(to) then return true end
  end
  return false
end

-- remember(root, job, digest, entry): the object has arrived. If the scan may yet come to it, it must not count it once more.
local function remember(root, job, digest, entry)
  if job and (job.remember or unrecorded(job, entry.number)) then redis.call('SADD', root .. ':early', digest) end
end

-- count_in(root, job, digest, mark): the object is in flight from now on. One that failed is failed no more: in the open job it goes back
-- to in flight; in a job that has ended it stays what it was there, and the open job lists it anew.
local function count_in(root, job, digest, mark)
  if mark then redis.call('HDEL', root .. ':failed', digest) end
  if mark and mark.job == job.id then
    count(job, 'failed', -1)
  else
    count(job, 'listed', 1)
  end
  count(job, 'in_flight', 1)
end
