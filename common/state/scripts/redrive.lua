-- include: _record _buckets _flight _balance _awaited
-- Tasks of objects that failed have been sent again: they are in flight, in the route's open job; one is opened if there is none.
-- KEYS 1 route
-- ARGV 1 now   2 route's name   3 id of a job to open   4 the keys' numbers, 4 bytes each   5 the keys' digests, 20 bytes each
--      6.. object key, token (pairs)
-- Reads route, route:N. Writes route:flight, route:failed, route:current (job), route:jobs, jobs (the open one, and those that counted the
-- failures).
-- Reply: how many are in flight now that were not. Again: 0.

local root, now = KEYS[1], tonumber(ARGV[1])
local route, current = open_route(root), current_of(root)
local open, taken = job_named(root, current.job), 0
local NEVER = 4294967295 -- a number that no page that is recorded has: the scan under way may come to the object yet

local function open_one()
  local key = root .. ':job:' .. ARGV[3]
  local inherited = redis.call('HLEN', root .. ':flight')
  redis.call('HSET', key, 'id', ARGV[3], 'route', ARGV[2], 'kind', 'redrive', 'state', 'moving', 'started', now, 'published', 0,
    'scans', 0, 'remember', 1, 'news', 1, 'listed', inherited, 'in_flight', inherited)
  redis.call('HSET', root .. ':current', 'job', ARGV[3])
  redis.call('ZADD', root .. ':jobs', now, ARGV[3])
  current.job = ARGV[3]
  return job_named(root, ARGV[3])
end

for i = 6, #ARGV, 2 do
  local n = (i - 4) / 2
  local digest, key, token = digest_at(ARGV[5], n), ARGV[i], ARGV[i + 1]
  local record = read(route, number_at(ARGV[4], n), key)
  if record.consumed ~= token and not entry_at(root, digest) then
    open = open or open_one()
    local mark = mark_at(root, digest)
    if mark and mark.job ~= open.id then
      local counted = job_named(root, mark.job)
      count(counted, 'failed', -1)
      leave_out(counted, 'redriven', 1)
    end
    put_entry(root, digest, {scan = current.scan, at = now, number = NEVER, token = token})
    count_in(root, open, digest, mark)
    if open.scans > 0 then redis.call('HSET', open.key, 'news', 1) end
    taken = taken + 1
  end
end
save_jobs(root, current, now)
return taken
