-- Takes reports off the stream of the errors: those that are named, and the oldest of those that are older than a time.
-- KEYS 1 stream   2 subjects (see _file.lua)
-- ARGV 1 the oldest id to keep ('' for any)   2.. ids
-- Reply: how many were taken off; of the old ones at most 1,000. Again: finds nothing to do.

local dropped = 0

local function drop(entry)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'subject' then
      local subject = entry[2][i + 1]
      local hash = hash_of(KEYS[2], subject)
      if redis.call('HGET', hash, subject) == entry[1] then redis.call('HDEL', hash, subject) end
    end
  end
  dropped = dropped + redis.call('XDEL', KEYS[1], entry[1])
end

if ARGV[1] ~= '' then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '(' .. ARGV[1], 'COUNT', 1000)) do drop(entry) end
end
for i = 2, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then drop(entry) end
end
return dropped
