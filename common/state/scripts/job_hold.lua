-- include: _record _balance
-- Whoever is to scan a job in this term holds it: what was begun in an earlier term cannot write to it any more.
-- KEYS 1 route
-- ARGV 1 job id   2 term
-- Writes route:current (term), the job (gaps: numbers that the one before has reserved and not recorded).
-- Reply: the job's fields and values; an empty list if it is not the open job, or a later term has written. Again: the same.

local MOST = 32
local job = held(KEYS[1], current_of(KEYS[1]), ARGV[1], tonumber(ARGV[2]))
if not job then return {} end
if job.published > job.recorded then
  local gaps = {}
  for gap in string.gmatch(job.gaps, '[^;]+') do gaps[#gaps + 1] = gap end
  local last = gaps[#gaps] and string.match(gaps[#gaps], '%-(%d+)')
  if tonumber(last or 0) < job.published then gaps[#gaps + 1] = job.recorded .. '-' .. job.published end
  if #gaps > MOST then gaps = {string.match(gaps[1], '%d+') .. '-' .. job.published} end
  redis.call('HSET', job.key, 'gaps', table.concat(gaps, ';'))
end
return redis.call('HGETALL', job.key)
