-- include: _record _flight _balance
-- A route leads somewhere else: nothing of it is in flight or failed any more, and its open job ends. Records are removed beforehand.
-- KEYS 1 route
-- ARGV 1 now   2 message
-- Writes the open job (state, message, in_flight, left_out:route_changed), route:current. Deletes route:flight, route:failed, route:early,
-- route:feed, route:reconciled.
-- Reply: how many were in flight. Again: 0.
-- Removals stand before writes: a script whose first write frees memory is allowed when memory is full.

local root, now = KEYS[1], tonumber(ARGV[1])
local current, flying = current_of(root), redis.call('HLEN', KEYS[1] .. ':flight')
local job = job_named(root, current.job)
redis.call('DEL', root .. ':flight', root .. ':failed', root .. ':early', root .. ':feed', root .. ':reconciled')
redis.call('HDEL', root .. ':current', 'missing')
if job then
  count(job, 'in_flight', -flying)
  if flying > 0 then leave_out(job, 'route_changed', flying) end
  redis.call('HSET', job.key, 'state', 'failed', 'message', ARGV[2])
  job.touched = true
end
save_jobs(root, current, now)
return flying
