-- include: _record _buckets _workers
-- Takes leases on objects of one route, unless the wanted version is at the destination already.
-- KEYS 1 route
-- ARGV 1 the keys' numbers, 4 bytes each   2 digest of the route's ends, '' for any   3.. per object: digest (hex), object key, token, owner,
--      milliseconds, 1 if the owner handles it alone, else 0
-- Reads route, route:N, route:workers, route:ends. Writes route:lease:DIGEST (string: owner, with expiry), route:begun:DIGEST (hash: version -> token,
-- "by "+owner -> 1 for each who has begun with this version and was not heard of since; 7 days).
-- Reply: {outcome per object: 0 taken, 1 done, 2 busy, 3 for all of them: the route has other ends}, {value or nil per object}, {worker number, name, ...},
-- {how many others have begun with it and were not heard of since, per object}: where they are two or more, the owner
-- has not begun before it says that it handles the object alone.
-- Again: an owner takes again what it has; the lease then runs from the later call.

local route = open_route(KEYS[1])
local outcomes, values, deaths = {}, {}, {}
local names, add_name = worker_names(KEYS[1])
local ends = redis.call('HGET', KEYS[1] .. ':ends', 'digest')
local elsewhere = ARGV[2] ~= '' and ends and ends ~= ARGV[2]

local function begin(begun, token, owner, alone)
  if redis.call('HGET', begun, 'version') ~= token then
    redis.call('DEL', begun)
    redis.call('HSET', begun, 'version', token)
  end
  local others = redis.call('HLEN', begun) - 1 - redis.call('HEXISTS', begun, 'by ' .. owner)
  if others < 2 or alone == '1' then redis.call('HSET', begun, 'by ' .. owner, 1) end
  redis.call('EXPIRE', begun, 604800)
  return others
end

for i = 3, #ARGV, 6 do
  local n = (i + 3) / 6
  local record, _, value = read(route, number_at(ARGV[1], n), ARGV[i + 1])
  local lease = KEYS[1] .. ':lease:' .. ARGV[i]
  values[n] = value
  deaths[n] = 0
  if elsewhere then
    outcomes[n] = 3
  elseif record.consumed == ARGV[i + 2] then
    outcomes[n] = 1
  elseif redis.call('SET', lease, ARGV[i + 3], 'NX', 'PX', ARGV[i + 4]) then
    outcomes[n] = 0
  elseif redis.call('GET', lease) == ARGV[i + 3] then
    redis.call('PEXPIRE', lease, ARGV[i + 4])
    outcomes[n] = 0
  else
    outcomes[n] = 2
  end
  if outcomes[n] == 0 then deaths[n] = begin(KEYS[1] .. ':begun:' .. ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 5]) end
  if record.worker then add_name(record.worker) end
end
return {outcomes, values, names, deaths}
