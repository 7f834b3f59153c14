-- The buckets of a route: linear hashing, so that buckets stay small enough for listpacks at any number of objects.
-- Needs _record.lua before it. Keys: route (hash: level, split, objects, published, consumed), route..':'..N (hash: key -> record).
--
-- There are 2^level + split buckets. A key whose number is n (keys.py, `spread`) lives in bucket n mod 2^level, or, where that bucket has been
-- split already, n mod 2^(level+1). A split moves those keys of bucket `split` whose next bit is 1 to bucket split + 2^level.

local function open_route(root)
  local layout = redis.call('HMGET', root, 'level', 'split', 'objects', 'published', 'consumed')
  local route = {
    root = root, level = tonumber(layout[1] or 0), split = tonumber(layout[2] or 0), objects = tonumber(layout[3] or 0),
    published = tonumber(layout[4] or 0), consumed = tonumber(layout[5] or 0), before = tonumber(layout[3] or 0),
  }
  route.size = 2 ^ route.level
  return route
end

local function bucket_name(route, bucket) return string.format('%s:%d', route.root, bucket) end

local function bucket_of(route, number)
  local bucket = number % route.size
  if bucket < route.split then bucket = number % (route.size * 2) end
  return bucket_name(route, bucket)
end

-- number_at(numbers, index) -> the index-th (from 1) of the 4-byte numbers packed into one string
local function number_at(numbers, index) return struct.unpack('>I4', numbers, index * 4 - 3) end

-- read(route, number, key) -> record (empty if there is none), bucket name, stored value or false
local function read(route, number, key)
  local bucket = bucket_of(route, number)
  local value = redis.call('HGET', bucket, key)
  return value and parse(value) or {}, bucket, value
end

-- split_one(route): at most one bucket's worth of work. The bit that decides is bit `level` of the reversed digest, that is,
-- counted from the left of the digest in hex. HSET stands first: when memory is full, Redis refuses it before anything has changed.
local function split_one(route)
  local from = bucket_name(route, route.split)
  local to = bucket_name(route, route.split + route.size)
  local digit, weight = floor(route.level / 4) + 1, 2 ^ (3 - route.level % 4)
  local entries = redis.call('HGETALL', from)
  local moved, gone = {}, {}
  for i = 1, #entries, 2 do
    local key = entries[i]
    local bits = tonumber(sub(redis.sha1hex(key), digit, digit), 16)
    if floor(bits / weight) % 2 == 1 then
      moved[#moved + 1] = key
      moved[#moved + 1] = entries[i + 1]
      gone[#gone + 1] = key
    end
  end
  for i = 1, #gone, 500 do
    local last = math.min(i + 499, #gone)
    redis.call('HSET', to, unpack(moved, i * 2 - 1, last * 2))
    redis.call('HDEL', from, unpack(gone, i, last))
  end
  route.split = route.split + 1
  if route.split == route.size then
    route.level, route.size, route.split = route.level + 1, route.size * 2, 0
  end
end

local function save(route)
  redis.call('HSET', route.root, 'level', route.level, 'split', route.split, 'objects', route.objects,
    'published', route.published, 'consumed', route.consumed)
end

-- grow(route, per_bucket): splits until buckets hold `per_bucket` objects on average, within a bound that follows what this call added.
local function grow(route, per_bucket)
  local most = floor((route.objects - route.before) / per_bucket) + 2
  while most > 0 and route.level < 30 and route.objects > per_bucket * (route.size + route.split) do
    split_one(route)
    most = most - 1
  end
end

-- store(route, bucket, key, value, record): writes what the caller changed in the record that `read` returned with `value`, and counts
-- objects; published and consumed records are counted by the caller.
local function store(route, bucket, key, value, record)
  redis.call('HSET', bucket, key, build(record))
  if not value then route.objects = route.objects + 1 end
end

-- bucket_at(route, position) -> bucket that holds the digests from `position` (their first 32 bits) on, width of its range
local function bucket_at(route, position)
  local bucket, width, bit = 0, 4294967296, 1
  local function next_bit()
    width = width / 2
    if floor(position / width) % 2 == 1 then bucket = bucket + bit end
    bit = bit * 2
  end
  for _ = 1, route.level do next_bit() end
  if bucket < route.split then next_bit() end
  return bucket_name(route, bucket), width
end

-- without(route, bucket, key, value, kind) -> true if the entry had a record of that kind, which is gone now; else nil.
-- Removes before it writes: a script that begins with a removal may run when memory is full.
local function without(route, bucket, key, value, kind)
  local record = parse(value)
  if not record[kind] then return nil end
  record[kind] = nil
  route[kind] = route[kind] - 1
  redis.call('HDEL', bucket, key)
  local left = build(record)
  if left then
    redis.call('HSET', bucket, key, left)
  else
    route.objects = route.objects - 1
  end
  return true
end

-- close(route): saves the layout after removals; a route without objects begins again with one bucket.
local function close(route)
  if route.objects > 0 then save(route) else redis.call('DEL', route.root) end
end
