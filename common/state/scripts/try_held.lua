-- Gives a held route whose pause is over to one caller, who tries it with one object; everybody else goes on waiting meanwhile.
-- KEYS 1 route:parked (hash, see hold.lua)
-- ARGV 1 id of this call   2 now   3 how long the trial may take (seconds)
-- Writes until, by, trial.
-- Reply: {} where the route is not held; else until, reason, held, tries, the trial's own `until` if the caller has it (else ''), and 1
-- if somebody tries it at this moment, else 0.
-- Again: the same.

local key = KEYS[1]
local known = redis.call('HMGET', key, 'until', 'held', 'by', 'trial')
if not known[2] then return {} end
if tonumber(known[1]) <= tonumber(ARGV[2]) then
  local ends = string.format('%.3f', tonumber(ARGV[2]) + tonumber(ARGV[3]))
  redis.call('HSET', key, 'until', ends, 'trial', ends, 'by', ARGV[1])
  redis.call('EXPIRE', key, 691200)
end
local found = redis.call('HMGET', key, 'until', 'reason', 'held', 'tries', 'by', 'trial')
return {found[1], found[2], found[3], tonumber(found[4]), (found[5] == ARGV[1] and found[6]) or '', found[6] and 1 or 0}
