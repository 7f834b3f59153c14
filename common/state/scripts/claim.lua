-- include: _record _buckets _workers
-- Takes leases on objects of one route, unless the wanted version is at the destination already.
-- KEYS 1 route
-- ARGV 1 the keys' numbers, 4 bytes each   2.. per object: digest (hex), object key, token, owner, milliseconds
-- Reads route, route:N, route:workers. Writes route:lease:DIGEST (string: owner, with expiry).
-- Reply: {outcome per object: 0 taken, 1 done, 2 busy}, {value or nil per object}, {worker number, name, ...}
-- Again: an owner takes again what it has; the lease then runs from the later call.

local route = open_route(KEYS[1])
local outcomes, values = {}, {}
local names, add_name = worker_names(KEYS[1])
for i = 2, #ARGV, 5 do
  local n = (i + 3) / 5
  local record, _, value = read(route, number_at(ARGV[1], n), ARGV[i + 1])
  local lease = KEYS[1] .. ':lease:' .. ARGV[i]
  values[n] = value
  if record.consumed == ARGV[i + 2] then
    outcomes[n] = 1
  elseif redis.call('SET', lease, ARGV[i + 3], 'NX', 'PX', ARGV[i + 4]) then
    outcomes[n] = 0
  elseif redis.call('GET', lease) == ARGV[i + 3] then
    redis.call('PEXPIRE', lease, ARGV[i + 4])
    outcomes[n] = 0
  else
    outcomes[n] = 2
  end
  if record.worker then add_name(record.worker) end
end
return {outcomes, values, names}
