-- include: _record _buckets _flight _balance _awaited
-- Before the tasks of a page are sent: its objects that are not consumed as they are listed are in flight, each once.
-- KEYS 1 route
-- ARGV 1 job id   2 term   3 now   4 id of this call   5 time before which a task counts as lost   6 the keys' numbers, 4 bytes each
--      7 the keys' digests, 20 bytes each   8 a letter for each object   9.. object key, token (pairs)
--      letters: p is to be published; l too, unless it has failed in this version; f was published and is taken to be in flight; c is consumed as it is listed and yet awaited
-- Reads route, route:N. Writes route:flight, route:failed, route:current (term, missing), the job (counters, published, reserved...).
-- Reply: {1, number of the first task, {positions from 0 of those that are not to be published any more}}; {0} if the job is lost.
-- Again: an object that is in flight is not counted again, and the call whose id is stored takes no more numbers.

local root, now, stale = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[5])
local current = current_of(root)
local job = held(root, current, ARGV[1], tonumber(ARGV[2]))
if not job then return {0} end
local route, kinds, skipped = open_route(root), ARGV[8], {}
local known = redis.call('HMGET', job.key, 'reserved', 'reserved_count')
local first = known[1] == ARGV[4] and job.published - tonumber(known[2]) or job.published
local number, fresh, added, pairs_of = first, {}, 0, {}
local new_entry = struct.pack('>BI4I4', 0, current.scan, now)
local any_flight, any_failed = redis.call('EXISTS', root .. ':flight') == 1, redis.call('EXISTS', root .. ':failed') == 1

local function entry_of(digest)
  if any_flight then return entry_at(root, digest) end
end

local function mark_of(digest)
  if any_failed then return mark_at(root, digest) end
end

-- consumed_as(key, n, token) -> whether the object has been consumed in this version by now
local hget, numbers = 'HGET', ARGV[6]
local function consumed_as(key, n, token)
  local value = redis.call(hget, bucket_of(route, number_at(numbers, n)), key)
  return value and byte(value, 1) % 4 ~= 0 and parse(value).consumed == token
end

-- consumed as it is listed: its entry, if there still is one, is left over from another version, or from a worker that knows no entries,
-- or a worker has missed that other version: the source has gone back to the one that was copied
local function consumed(digest, token)
  local entry = entry_of(digest)
  if entry and (entry.token == token or entry.missing or entry.at < stale) then
    take_off(root, job, digest, entry, 'proven')
  end
end

-- stands(digest, token) -> whether the object failed in this version, so that it stands as failed in this job as well
local function stands(digest, token)
  local mark = mark_of(digest)
  if not mark or mark.token ~= token then return false end
  if mark.job ~= job.id then
    count(job, 'listed', 1)
    count(job, 'failed', 1)
  end
  if mark.job ~= job.id or mark.scan ~= current.scan then
    mark.job, mark.scan = job.id, current.scan
    put_mark(root, digest, mark)
  end
  return true
end

-- put_on(digest, token): written at the end, all at once
local function put_on(digest, token)
  if fresh[digest] then return end
  fresh[digest] = true
  added = added + 1
  pairs_of[added * 2 - 1] = digest
  pairs_of[added * 2] = new_entry .. struct.pack('>I4', number) .. token
  if any_failed then count_in(root, job, digest, mark_at(root, digest)) end
end

local function in_flight(digest, token)
  local entry = entry_of(digest)
  if not entry then
    if not stands(digest, token) then put_on(digest, token) end
  elseif entry.scan ~= current.scan then
    entry.scan = current.scan
    put_entry(root, digest, entry)
  end
end

local function published(digest, token)
  local entry = entry_of(digest)
  if not entry then return put_on(digest, token) end
  if entry.missing then count_missing(root, -1) end
  entry.returned = entry.returned or entry.missing
  entry.missing, entry.scan, entry.at, entry.number, entry.token = false, current.scan, now, number, token
  put_entry(root, digest, entry)
end

for n = 1, #kinds do
  local key, token, kind = ARGV[n * 2 + 7], ARGV[n * 2 + 8], sub(kinds, n, n)
  local digest = digest_at(ARGV[7], n)
  local wanted = kind == 'p' or kind == 'l'
  if consumed_as(key, n, token) then
    consumed(digest, token)
    if wanted then skipped[#skipped + 1] = n - 1 end
  elseif kind == 'l' and not entry_of(digest) and stands(digest, token) then
    skipped[#skipped + 1] = n - 1
  elseif wanted then
    published(digest, token)
    number = number + 1
  else
    in_flight(digest, token)
  end
end
if not any_failed then
  count(job, 'listed', added)
  count(job, 'in_flight', added)
end
for i = 1, #pairs_of, 1000 do redis.call('HSET', root .. ':flight', unpack(pairs_of, i, math.min(i + 999, #pairs_of))) end
redis.call('HSET', job.key, 'published', number, 'reserved', ARGV[4], 'reserved_count', number - first)
job.touched = true
save_jobs(root, current, now)
return {1, first, skipped}
