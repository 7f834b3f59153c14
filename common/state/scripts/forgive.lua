-- include: _record _flight _balance
-- Takes back that objects failed: the next scan that lists them counts and tries them anew.
-- KEYS 1 route
-- ARGV 1 now   2 the keys' digests, 20 bytes each
-- Writes route:failed; a job that is still open has listed and failed so many less.
-- Reply: how many marks there were. Again: 0.

local root, current, forgiven = KEYS[1], current_of(KEYS[1]), 0
for n = 1, #ARGV[2] / 20 do
  local digest = digest_at(ARGV[2], n)
  local mark = mark_at(root, digest)
  if mark then
    redis.call('HDEL', root .. ':failed', digest)
    forgiven = forgiven + 1
    if mark.job == current.job then
      local job = job_named(root, mark.job)
      count(job, 'listed', -1)
      count(job, 'failed', -1)
    end
  end
end
save_jobs(root, current, tonumber(ARGV[1]))
return forgiven
