-- include: _record _buckets _flight _balance _awaited
-- The source changed before objects were moved, and tasks for the new versions have been sent: those are awaited now.
-- KEYS 1 route
-- ARGV 1 now   2 objects per bucket   3 the keys' numbers, 4 bytes each   4 the keys' digests, 20 bytes each
--      5.. per object: digest (hex), object key, token of the old version, token of the new one, owner
-- Writes route, route:N (published), route:flight, route:current (missing), the open job. Deletes route:begun:DIGEST (claim.lua), and route:lease:DIGEST if the owner has it.
-- Reply: how many entries were handed over. Again: 0; the records are written again.
--
-- Where the new version has arrived already, its settlement found the entry of the old one and left it: it counts here.

local root, now = KEYS[1], tonumber(ARGV[1])
local route, current = open_route(root), current_of(root)
local open = job_named(root, current.job)
local handed = 0
for i = 5, #ARGV, 5 do
  local n = i / 5
  local digest, key, old, new = digest_at(ARGV[4], n), ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local record, bucket, value = read(route, number_at(ARGV[3], n), key)
  local entry = entry_at(root, digest)
  if not record.published then route.published = route.published + 1 end
  record.published, record.at = new, now
  store(route, bucket, key, value, record)
  if entry and entry.token == old then
    handed = handed + 1
    if record.consumed == new then
      take_off(root, open, digest, entry, 'moved')
      remember(root, open, digest, entry)
    else
      entry.token, entry.at = new, now
      put_entry(root, digest, entry)
    end
  end
  redis.call('DEL', root .. ':begun:' .. ARGV[i])
  local lease = root .. ':lease:' .. ARGV[i]
  if redis.call('GET', lease) == ARGV[i + 4] then redis.call('DEL', lease) end
end
grow(route, tonumber(ARGV[2]))
save(route)
save_jobs(root, current, now)
return handed
