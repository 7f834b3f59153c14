-- include: _record _buckets _flight _balance _awaited
-- Ends tasks of one route: writes receipts, takes the objects off the flight table, counts them, gives up leases.
-- KEYS 1 route
-- ARGV 1 now   2 objects per bucket   3 the keys' numbers, 4 bytes each   4 the keys' digests, 20 bytes each
--      5 digest of the route's ends, '' for any   6.. per task: digest (hex), object key, token of the task's version, owner, outcome (moved, proven, failed, gone, changing or
--      kept), bytes, worker, token and receipt ('' and '' where there is no receipt); whether metadata were lost, whether the bytes were moved
--      unverified, whether something that was not ours was written over (0 or 1 each); the mark of what is kept ('' for anything else)
-- Writes route, route:N (consumed, published), route:workers (new names), route:flight, route:failed, route:early, route:current (missing), jobs.
-- Deletes route:failures:DIGEST after a receipt and after the last failure, and route:lease:DIGEST if the owner has it.
-- Deletes route:begun:DIGEST (see claim.lua).
-- Reply: how many tasks were counted. Where the route has other ends nothing is written, and only leases are given up.
-- Again: the receipt is written again; nothing counts that is not in flight any more.
--
-- A task counts if it takes off the flight table the entry that awaits its version. So whatever is delivered twice, or was made up, counts
-- nothing; a task of an older version leaves the entry of the newer one. An object that failed and arrived all the same, by a second
-- delivery perhaps, is moved over to what became of it, in the job that counted the failure.

local root, workers, now = KEYS[1], KEYS[1] .. ':workers', tonumber(ARGV[1])
local route, current = open_route(root), current_of(root)
local open = job_named(root, current.job)
local numbers, counted, changed = {}, 0, false
local LEFT_OUT = {gone = true, changing = true, kept = true}

local function worker_number(name)
  if not numbers[name] then
    numbers[name] = tonumber(redis.call('HGET', workers, 'n' .. name))
    if not numbers[name] then
      numbers[name] = redis.call('HLEN', workers) / 2
      redis.call('HSET', workers, 'n' .. name, numbers[name], 'i' .. numbers[name], name)
    end
  end
  return numbers[name]
end

local function arrived(job, bytes, lost, unverified, overwritten)
  counted = counted + 1
  if bytes ~= '0' then count(job, 'bytes', tonumber(bytes)) end
  if lost == '1' then count(job, 'metadata_lost', 1) end
  if unverified == '1' then count(job, 'unverified', 1) end
  if overwritten == '1' then count(job, 'overwritten', 1) end
end

local function settle(digest, token, outcome, bytes, lost, unverified, overwritten)
  local entry = entry_at(root, digest)
  if entry and entry.token == token then
    if LEFT_OUT[outcome] then
      take_off(root, open, digest, entry, 'left_out', outcome)
    else
      take_off(root, open, digest, entry, outcome)
    end
    if outcome == 'failed' and open then put_mark(root, digest, {scan = entry.scan, job = open.id, token = token}) end
    if outcome == 'moved' or outcome == 'proven' or outcome == 'kept' then remember(root, open, digest, entry) end
    arrived(open, bytes, lost, unverified, overwritten)
  elseif not entry and (outcome == 'moved' or outcome == 'proven') then
    local mark = mark_at(root, digest)
    if not mark or mark.token ~= token then return end
    local job = job_named(root, mark.job)
    redis.call('HDEL', root .. ':failed', digest)
    count(job, 'failed', -1)
    count(job, outcome, 1)
    if job and open and job.id == open.id then redis.call('SADD', root .. ':early', digest) end
    arrived(job, bytes, lost, unverified, overwritten)
  end
end

-- keep(digest, number, key, token, mark): the record says that the object was left out, unless a newer version is on its way
local function keep(digest, number, key, token, mark)
  local entry = entry_at(root, digest)
  if entry and entry.token ~= token then return end
  local record, bucket, value = read(route, number, key)
  if not record.published then route.published = route.published + 1 end
  record.published, record.at = token, tonumber(mark)
  store(route, bucket, key, value, record)
  changed = true
end

local function give_up(i)
  redis.call('DEL', root .. ':begun:' .. ARGV[i])
  local lease = root .. ':lease:' .. ARGV[i]
  if redis.call('GET', lease) == ARGV[i + 3] then redis.call('DEL', lease) end
end

local ends = redis.call('HGET', root .. ':ends', 'digest')
if ARGV[5] ~= '' and ends and ends ~= ARGV[5] then
  for i = 6, #ARGV, 13 do give_up(i) end
  return 0
end

for i = 6, #ARGV, 13 do
  local n = (i + 7) / 13
  if ARGV[i + 8] ~= '' then
    local record, bucket, value = read(route, number_at(ARGV[3], n), ARGV[i + 1])
    if not record.consumed then route.consumed = route.consumed + 1 end
    record.worker, record.consumed, record.receipt = worker_number(ARGV[i + 6]), ARGV[i + 7], ARGV[i + 8]
    store(route, bucket, ARGV[i + 1], value, record)
    changed = true
  end
  if ARGV[i + 12] ~= '' then keep(digest_at(ARGV[4], n), number_at(ARGV[3], n), ARGV[i + 1], ARGV[i + 2], ARGV[i + 12]) end
  settle(digest_at(ARGV[4], n), ARGV[i + 2], ARGV[i + 4], ARGV[i + 5], ARGV[i + 9], ARGV[i + 10], ARGV[i + 11])
  if ARGV[i + 8] ~= '' or ARGV[i + 4] == 'failed' then redis.call('DEL', root .. ':failures:' .. ARGV[i]) end
  give_up(i)
end
if changed then
  grow(route, tonumber(ARGV[2]))
  save(route)
end
save_jobs(root, current, now)
return counted
