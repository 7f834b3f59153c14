-- include: _record _buckets
-- Ends tasks of one route: writes receipts, counts each task once in its job, ends jobs whose last task this was, gives up leases.
-- KEYS 1 route
-- ARGV 1 now   2 objects per bucket   3 the keys' numbers, 4 bytes each
--      4.. per task: digest (hex), object key, job id, task number, owner, outcome (a counter's name), bytes, worker, token, receipt,
--      whether metadata were lost (0 or 1) (worker, token and receipt are '' where there is no receipt)
-- Writes route, route:N (consumed), route:workers (new names), route:job:ID (outcome, bytes, metadata_lost, settled, state, finished), route:job:ID:settled
-- (bitmap). Deletes route:failures:DIGEST after a receipt and after the last failure, and route:lease:DIGEST if the owner has it.
-- Reply: how many tasks were counted.
-- Again: the receipt is written again; a task whose bit is set does not count. Per task the writes that need memory stand first: when
-- memory is full, Redis refuses the script's first write, before anything has changed.
--
-- A job counts its tasks by outcome from the start. `settled`, the tasks below `published` that have ended, is kept only while the job is
-- moving, when `published` is final (job_scanned.lua counts the bits up to then). A number far beyond what the job has published was
-- made up: its bit is not set, because the bitmap would grow to meet it.

local root, workers = KEYS[1], KEYS[1] .. ':workers'
local route = open_route(root)
local numbers, jobs, counted, receipts = {}, {}, 0, false

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

local function job_of(id)
  if not jobs[id] then
    local key = root .. ':job:' .. id
    local fields = redis.call('HMGET', key, 'state', 'published', 'settled')
    jobs[id] = {key = key, state = fields[1], published = tonumber(fields[2] or 0), settled = tonumber(fields[3] or 0), counted = 0}
  end
  return jobs[id]
end

local function count(job, number, outcome, bytes, lost)
  if not job.state or number >= job.published + 1000000 then return end
  if redis.call('SETBIT', job.key .. ':settled', number, 1) == 1 then return end
  redis.call('HINCRBY', job.key, outcome, 1)
  if bytes ~= '0' then redis.call('HINCRBY', job.key, 'bytes', bytes) end
  if lost == '1' then redis.call('HINCRBY', job.key, 'metadata_lost', 1) end
  job.counted = job.counted + 1
  if job.state == 'moving' and number < job.published then job.settled = job.settled + 1 end
end

for i = 4, #ARGV, 11 do
  if ARGV[i + 9] ~= '' then
    local record, bucket, value = read(route, number_at(ARGV[3], (i + 7) / 11), ARGV[i + 1])
    if not record.consumed then route.consumed = route.consumed + 1 end
    record.worker, record.consumed, record.receipt = worker_number(ARGV[i + 7]), ARGV[i + 8], ARGV[i + 9]
    store(route, bucket, ARGV[i + 1], value, record)
    receipts = true
  end
  count(job_of(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 5], ARGV[i + 6], ARGV[i + 10])
  if ARGV[i + 9] ~= '' or ARGV[i + 5] == 'failed' then redis.call('DEL', root .. ':failures:' .. ARGV[i]) end
  local lease = root .. ':lease:' .. ARGV[i]
  if redis.call('GET', lease) == ARGV[i + 4] then redis.call('DEL', lease) end
end
if receipts then
  grow(route, tonumber(ARGV[2]))
  save(route)
end

for _, job in pairs(jobs) do
  if job.counted > 0 then
    counted = counted + job.counted
    local life = 2678400
    if job.state == 'moving' then
      redis.call('HSET', job.key, 'settled', job.settled)
      if job.settled >= job.published then
        redis.call('HSET', job.key, 'state', 'done', 'finished', ARGV[1])
        job.state = 'done'
      end
    end
    if job.state == 'done' or job.state == 'failed' then life = 604800 end
    redis.call('EXPIRE', job.key, life)
    redis.call('EXPIRE', job.key .. ':settled', life)
  end
end
return counted
