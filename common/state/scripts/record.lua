-- include: _record _buckets _flight _balance
-- Records pages whose tasks the queue has confirmed: published records, and what the job counts, and its checkpoint, as one step.
-- KEYS 1 route
-- ARGV 1 now   2 objects per bucket   3 id of this call   4 job id   5 term   6 checkpoint ('' for none)   7 consumed as listed
--      8 the keys' numbers, 4 bytes each   9 the keys' digests, 20 bytes each   10 number of the next task ('' if there was none)
--      11 how many reasons
--      12.. reason, count (pairs), then object key, token (pairs) of what was published
-- Writes route, route:N (published), route:early, the job (after, recorded, listed, proven, left_out, call).
-- Reply: 1, or 0 if the job is lost: then only the records were written, because they say what is on the queue.
-- Again: a call whose id is the stored one does nothing. (One publisher scans a job, and makes no call before the one before it has been
-- answered.)
--
-- What is consumed and what is left out counts in the first scan of a job only: a later one meets the same again, and what the job has
-- moved meanwhile.

local root, now, first = KEYS[1], tonumber(ARGV[1]), 12 + tonumber(ARGV[11]) * 2
local route, call = open_route(root), redis.call
if call('HGET', root .. ':job:' .. ARGV[4], 'call') == ARGV[3] then return 1 end
local any_early = call('EXISTS', root .. ':early') == 1
local any_missing = tonumber(call('HGET', root .. ':current', 'missing') or 0) > 0
for i = first, #ARGV, 2 do
  local n = (i - first) / 2 + 1
  local entry = any_missing and entry_at(root, digest_at(ARGV[9], n))
  -- What a worker has found missing is to be published as soon as it is listed again.
  if not (entry and entry.missing) then
    local record, bucket, value = read(route, number_at(ARGV[8], n), ARGV[i])
    -- A worker was quicker, and has noted what came of it (that something else is kept at the destination).
    local ended = any_early and record.published == ARGV[i + 1] and call('SISMEMBER', root .. ':early', digest_at(ARGV[9], n)) == 1
    if not ended then
      if not record.published then route.published = route.published + 1 end
      record.published, record.at = ARGV[i + 1], now
      store(route, bucket, ARGV[i], value, record)
    end
  end
end
if #ARGV >= first then
  grow(route, tonumber(ARGV[2]))
  save(route)
end

local current = current_of(root)
local job = held(root, current, ARGV[4], tonumber(ARGV[5]))
if not job then return 0 end
if any_early then
  for n = 1, #ARGV[9] / 20, 500 do
    local digests = {}
    for each = n, math.min(n + 499, #ARGV[9] / 20) do digests[#digests + 1] = digest_at(ARGV[9], each) end
    call('SREM', root .. ':early', unpack(digests))
  end
end
call('HSET', job.key, 'after', ARGV[6], 'call', ARGV[3])
if ARGV[10] ~= '' then call('HSET', job.key, 'recorded', ARGV[10]) end
if job.scans <= 1 then
  count(job, 'listed', tonumber(ARGV[7]))
  count(job, 'proven', tonumber(ARGV[7]))
  for i = 12, first - 1, 2 do
    count(job, 'listed', tonumber(ARGV[i + 1]))
    leave_out(job, ARGV[i], tonumber(ARGV[i + 1]))
  end
end
job.touched = true
save_jobs(root, current, now)
return 1
