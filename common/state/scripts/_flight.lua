-- The flight table of a route: which version of which object is awaited, and the marks of those that failed. Needs _record.lua before it.
-- Keys: route..':flight' (hash: digest -> entry), route..':failed' (hash: digest -> mark), route..':early' (set of digests). A digest has
-- 20 bytes.
--
-- entry   flags (1 byte), scan in which the object was listed last (4), when its task was made (4), token of the awaited version
--         flags: 1 unrecorded: its page has not been recorded yet; 2 missing: a worker did not find it at the source, and the next full
--         scan decides; 4 returned: it was missing and was listed again, so that not to find it once more is a failure
-- mark    scan in which it was listed last (4), id of the job that counts it as failed, a zero byte, token of the version that failed

-- digest_at(digests, index) -> the index-th (from 1) of the digests packed into one string
local function digest_at(digests, index) return sub(digests, index * 20 - 19, index * 20) end

-- entry_at(root, digest) -> entry, nil if the object is not in flight
local function entry_at(root, digest)
  local value = redis.call('HGET', root .. ':flight', digest)
  if not value then return nil end
  local flags = byte(value, 1)
  return {
    unrecorded = flags % 2 == 1, missing = floor(flags / 2) % 2 == 1, returned = floor(flags / 4) % 2 == 1,
    scan = struct.unpack('>I4', value, 2), at = struct.unpack('>I4', value, 6), token = sub(value, 10),
  }
end

local function put_entry(root, digest, entry)
  local flags = (entry.unrecorded and 1 or 0) + (entry.missing and 2 or 0) + (entry.returned and 4 or 0)
  redis.call('HSET', root .. ':flight', digest, char(flags) .. struct.pack('>I4I4', entry.scan, entry.at) .. entry.token)
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
