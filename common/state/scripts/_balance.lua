-- The counters of jobs, and the only place where they change. Needs _record.lua before it.
-- Keys: route..':current' (hash: job, term, scan, missing, quiet, quiet_as), route..':job:'..ID (hash), route..':jobs' (zset).
--
-- At the end of every script: listed = moved + proven + in_flight + failed + left_out, and the open job has in flight what the flight
-- table holds. `left_out` is the sum of the fields left_out:REASON. A difference is written to the job as `unbalanced` and stays there:
-- it is a fault of ours, and is to be seen.

local LIFE_OPEN, LIFE_ENDED, LIFE_MERGED = 2678400, 604800, 3600
local jobs = {}

-- current_of(root) -> what the route is at: id of the open job (false if none), highest term that has written, number of the scan
local function current_of(root)
  local known = redis.call('HMGET', root .. ':current', 'job', 'term', 'scan', 'quiet', 'quiet_as')
  return {
    job = known[1], term = tonumber(known[2] or 0), scan = tonumber(known[3] or 0), quiet = known[4], quiet_as = known[5],
  }
end

-- job_named(root, id) -> the job, nil if there is none (any more). The same table whenever it is asked for.
local function job_named(root, id)
  if not id then return nil end
  if jobs[id] == nil then
    local key = root .. ':job:' .. id
    local known = redis.call('HMGET', key, 'state', 'scans', 'remember', 'finished', 'call', 'published', 'recorded', 'gaps')
    jobs[id] = known[1] and {
      id = id, key = key, state = known[1], scans = tonumber(known[2] or 1), remember = known[3], finished = known[4], call = known[5],
      published = tonumber(known[6] or 0), recorded = tonumber(known[7] or 0),
      gaps = known[8] or '', by = {},
    }
  end
  return jobs[id] or nil
end

-- held(root, current, id, term) -> the open job if it has this id and nobody has written to the route in a later term; else nil
local function held(root, current, id, term)
  if current.job ~= id or term < current.term then return nil end
  local job = job_named(root, id)
  if job and term > current.term then
    current.term = term
    redis.call('HSET', root .. ':current', 'term', term)
  end
  return job
end

local function count(job, counter, by)
  if job then job.by[counter] = (job.by[counter] or 0) + by end
end

local function leave_out(job, reason, by)
  count(job, 'left_out', by)
  count(job, 'left_out:' .. reason, by)
end

local function count_missing(root, by) redis.call('HINCRBY', root .. ':current', 'missing', by) end

local function balance(root, current, job)
  local is = redis.call('HMGET', job.key, 'listed', 'moved', 'proven', 'in_flight', 'failed', 'left_out')
  local difference = tonumber(is[1] or 0)
  for i = 2, 6 do difference = difference - tonumber(is[i] or 0) end
  if difference == 0 and current.job == job.id then
    difference = tonumber(is[4] or 0) - redis.call('HLEN', root .. ':flight')
  end
  if difference ~= 0 then redis.call('HSET', job.key, 'unbalanced', difference) end
end

-- merge(root, current, job, state): of the jobs that have ended in the same way one after the other, without anything new, the last
-- stands for all. The one before it can be asked for by its id for an hour.
local function merge(root, current, job, state)
  local is = redis.call('HMGET', job.key, 'published', 'moved', 'news', 'message', 'started')
  if tonumber(is[1] or 0) > 0 or tonumber(is[2] or 0) > 0 or is[3] then
    redis.call('HDEL', root .. ':current', 'quiet', 'quiet_as')
    return
  end
  local as, before = state .. ' ' .. (is[4] or ''), current.quiet and root .. ':job:' .. current.quiet
  local known = before and current.quiet_as == as and redis.call('HMGET', before, 'sweeps', 'since', 'started')
  if known and known[3] then
    redis.call('HSET', job.key, 'sweeps', tonumber(known[1] or 1) + 1, 'since', known[2] or known[3])
    redis.call('EXPIRE', before, LIFE_MERGED)
    redis.call('ZREM', root .. ':jobs', current.quiet)
  end
  redis.call('HSET', root .. ':current', 'quiet', job.id, 'quiet_as', as)
end

local function finish(root, current, job, state, now)
  redis.call('HSET', job.key, 'state', state, 'finished', now)
  redis.call('EXPIRE', job.key, LIFE_ENDED)
  if current.job == job.id then
    redis.call('HDEL', root .. ':current', 'job', 'missing')
    redis.call('DEL', root .. ':early')
    current.job = false
  end
  merge(root, current, job, state)
end

-- conclude(root, current, job, now): a job whose scan has ended ends with its last object in flight
local function conclude(root, current, job, now)
  local is = redis.call('HMGET', job.key, 'state', 'in_flight', 'failed', 'finished')
  local state = is[1]
  local clean = tonumber(is[3] or 0) > 0 and 'done_with_failures' or 'done'
  if is[4] then
    if state ~= 'failed' and state ~= clean then redis.call('HSET', job.key, 'state', clean) end
  elseif state == 'scanning' or tonumber(is[2] or 0) > 0 then
    redis.call('EXPIRE', job.key, LIFE_OPEN)
  else
    finish(root, current, job, state == 'failed' and state or clean, now)
  end
end

-- save_jobs(root, current, now): writes what was counted. To be called once, at the end.
local function save_jobs(root, current, now)
  for _, job in pairs(jobs) do
    if job and (job.touched or next(job.by)) then
      for counter, by in pairs(job.by) do
        if by ~= 0 then redis.call('HINCRBY', job.key, counter, by) end
      end
      balance(root, current, job)
      conclude(root, current, job, now)
    end
  end
end
