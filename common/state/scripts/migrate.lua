-- Brings a route from format 1 to format 2: jobs that are not over are ended, and what belonged to their counting is removed. Records,
-- receipts and leases are the same in both.
-- KEYS 1 route
-- ARGV 1 now   2 message
-- Writes jobs (state, message, finished; what they had in flight is left out, for the next job counts it). Deletes route:scanning, route:job:ID:settled.
-- Reply: how many jobs were ended. Again: 0.

local ended = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1] .. ':jobs', 0, -1)) do
  local key = KEYS[1] .. ':job:' .. id
  local known = redis.call('HMGET', key, 'state', 'scans')
  if not known[2] and (known[1] == 'scanning' or known[1] == 'moving') then
    local told = redis.call('HMGET', key, 'listed', 'unchanged', 'consumed', 'already', 'superseded', 'failed')
    local left = tonumber(told[1] or 0)
    for i = 2, #told do left = left - tonumber(told[i] or 0) end
    redis.call('HSET', key, 'state', 'failed', 'message', ARGV[2], 'finished', ARGV[1], 'left_out:next_job', math.max(left, 0))
    redis.call('EXPIRE', key, 604800)
    ended = ended + 1
  end
  redis.call('DEL', key .. ':settled')
end
redis.call('DEL', KEYS[1] .. ':scanning')
return ended
