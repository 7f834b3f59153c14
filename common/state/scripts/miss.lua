-- include: _record _buckets _flight _balance
-- Workers did not find objects at the source: each stays in flight until a full scan has decided, and its published record goes.
-- KEYS 1 route
-- ARGV 1 now   2 the keys' numbers, 4 bytes each   3 the keys' digests, 20 bytes each   4.. per object: digest (hex), object key, token of
--      the task's version, owner
-- Writes route, route:N (published), route:flight (missing), route:current (missing), the open job's life. Deletes route:begun:DIGEST (claim.lua), and route:lease:DIGEST if
-- the owner has it.
-- Reply: per object 1, or 0 if it was missing before and has been listed again: then nothing has changed, and it has failed.
-- Again: the same.

local root, now = KEYS[1], tonumber(ARGV[1])
local route, current = open_route(root), current_of(root)
local replies, removed = {}, false

local function forget(n, key, token)
  local record, bucket, value = read(route, number_at(ARGV[2], n), key)
  if record.published ~= token or record.consumed == token then return end
  without(route, bucket, key, value, 'published')
  removed = true
end

for i = 4, #ARGV, 4 do
  local n = i / 4
  local digest, key, token = digest_at(ARGV[3], n), ARGV[i + 1], ARGV[i + 2]
  local entry = entry_at(root, digest)
  if entry and entry.token == token and entry.returned then
    replies[n] = 0
  else
    replies[n] = 1
    if entry and entry.token == token and not entry.missing then
      entry.missing = true
      put_entry(root, digest, entry)
      count_missing(root, 1)
    end
    if not entry or entry.token == token then forget(n, key, token) end
    redis.call('DEL', root .. ':begun:' .. ARGV[i])
    local lease = root .. ':lease:' .. ARGV[i]
    if redis.call('GET', lease) == ARGV[i + 3] then redis.call('DEL', lease) end
  end
end
if removed then close(route) end
return replies
