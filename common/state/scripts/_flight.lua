-- The flight table of a route: which version of which object is awaited, and the marks of those that failed. Needs _record.lua before it.
-- Keys: route..':flight' (hash: digest -> entry), route..':failed' (hash: digest -> mark), route..':early' (set of digests). A digest has
-- 20 bytes.
--
-- entry   flags (1 byte), scan in which the object was listed last (4), when its task was made (4), number of the task in its job (4),
--         token of the awaited version
--         flags: 2 missing: a worker did not find it at the source, and the next full scan decides; 4 returned: it was missing and was
--         listed again, so that not to find it once more is a failure
-- mark    scan in which it was listed last (4), id of the job that counts it as failed, a zero byte, token of the version that failed

-- digest_at(digests, index) -> the index-th (from 1) of the digests packed into one string
local function digest_at(digests, index) return sub(digests, index * 20 - 19, index * 20) end

-- entry_at(root, digest) -> entry, nil if the object is not in flight
local function entry_at(root, digest)
  local value = redis.call('HGET', root .. ':flight', digest)
  if not value then return nil end
  local flags, scan, at, number = struct.unpack('>BI4I4I4', value)
  return {
    missing = floor(flags / 2) % 2 == 1, returned = floor(flags / 4) % 2 == 1,
    scan = scan, at = at, number = number, token = sub(value, 14),
  }
end

local function entry_value(entry)
  local flags = (entry.missing and 2 or 0) + (entry.returned and 4 or 0)
  return struct.pack('>BI4I4I4', flags, entry.scan, entry.at, entry.number) .. entry.token
end

local function put_entry(root, digest, entry)
  redis.call('HSET', root .. ':flight', digest, entry_value(entry))
end

-- mark_at(root, digest) -> mark, nil if the object has not failed
local function mark_at(root, digest)
  local value = redis.call('HGET', root .. ':failed', digest)
  if not value then return nil end
  local stop = string.find(value, '\0', 5, true)
  return {scan = struct.unpack('>I4', value, 1), job = sub(value, 5, stop - 1), token = sub(value, stop + 1)}
end

local function put_mark(root, digest, mark)
  redis.call('HSET', root .. ':failed', digest, struct.pack('>I4', mark.scan) .. mark.job .. '\0' .. mark.token)
end
