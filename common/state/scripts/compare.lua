-- include: _record _buckets
-- Which of many objects of one route have not been consumed in the version that is named.
-- KEYS 1 route
-- ARGV 1 the keys' numbers, 4 bytes each   2 their digests, 20 bytes each   3 the tokens' bodies, 16 bytes each, if all are of kind 0;
--      else ''   4.. object keys, and after all of them, if ARGV[3] is '', their tokens
-- Reads route, route:N, route:flight, route:early. Writes nothing.
-- Reply: {position of each that is not consumed in this version, from 0}, {value or nil of each of them}, {positions of those that are
-- consumed and have been counted in this scan}, {positions of those that are consumed and yet in flight},
-- {positions of those that are not consumed in this version and have been counted in this scan all the same}

local route = open_route(KEYS[1])
local numbers, digests, bodies = ARGV[1], ARGV[2], ARGV[3]
local call, hget, places, values, found = redis.call, 'HGET', {}, {}, 0
local flight, early = KEYS[1] .. ':flight', KEYS[1] .. ':early'
local counted, awaited, ended = {}, {}, {}
local any_flight, any_early = call('EXISTS', flight) == 1, call('EXISTS', early) == 1

-- consumed_as(value, kind, body): a token says by itself where it ends, so that as many equal bytes are an equal token
local function consumed_as(value, kind, body)
  local header = byte(value, 1)
  if header % 4 == 0 or floor(header / 4) % 4 ~= kind then return false end
  local at = 2
  while byte(value, at) > 127 do at = at + 1 end
  return sub(value, at + 1, at + #body) == body
end

for n = 1, #numbers / 4 do
  local value = call(hget, bucket_of(route, number_at(numbers, n)), ARGV[n + 3])
  local same = false
  if value and bodies ~= '' then
    same = consumed_as(value, 0, sub(bodies, n * 16 - 15, n * 16))
  elseif value then
    local token = ARGV[n + 3 + #numbers / 4]
    same = consumed_as(value, byte(token, 1), sub(token, 2))
  end
  if not same then
    found = found + 1
    places[found] = n - 1
    values[found] = value
    if value and any_early and call('SISMEMBER', early, sub(digests, n * 20 - 19, n * 20)) == 1 then ended[#ended + 1] = n - 1 end
  elseif any_early and call('SISMEMBER', early, sub(digests, n * 20 - 19, n * 20)) == 1 then
    counted[#counted + 1] = n - 1
  elseif any_flight and call('HEXISTS', flight, sub(digests, n * 20 - 19, n * 20)) == 1 then
    awaited[#awaited + 1] = n - 1
  end
end
return {places, values, counted, awaited, ended}
