-- Puts a report on the stream of the errors in the place of the one before it about the same subject, with what that one knew: how often
-- it was reported, and when first (unix ms).
-- `message`: 12 bytes that name the subject, then the report. `subjects`: begins the names of 1,024 hashes, subject -> id of its entry;
-- one hash for all would take twice as much memory.

local function hash_of(subjects, subject)
  return subjects .. ':' .. (string.byte(subject, 1) * 4 + math.floor(string.byte(subject, 2) / 64))
end

local function file(stream, subjects, message, now)
  local subject, report = string.sub(message, 1, 12), string.sub(message, 13)
  local times, first = 1, now
  local hash = hash_of(subjects, subject)
  local before = redis.call('HGET', hash, subject)
  local entry = before and redis.call('XRANGE', stream, before, before)[1]
  if entry then
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'times' then times = tonumber(entry[2][i + 1]) + 1 end
      if entry[2][i] == 'first' then first = tonumber(entry[2][i + 1]) end
    end
  end
  local id = redis.call('XADD', stream, '*', 'payload', report, 'subject', subject, 'times', times, 'first', string.format('%.0f', first))
  redis.call('HSET', hash, subject, id)
  if entry then redis.call('XDEL', stream, before) end
end

