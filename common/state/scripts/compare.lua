-- include: _record _buckets
-- Which of many objects of one route have not been consumed in the version that is named, or are not at the destination as they were.
-- KEYS 1 route
-- ARGV 1 the keys' numbers, 4 bytes each   2 their digests, 20 bytes each   3 the tokens' bodies, 16 bytes each, if all are of kind 0;
--      else ''   4 when the destination began to be listed, or '' if it was not   5.. object keys, and after all of them, if ARGV[3] is '',
--      their tokens, and after those, unless ARGV[4] is '', what the destination's listing says of each: size (varint) and token, or ''
-- Reads route, route:N, route:flight, route:early. Writes nothing.
-- Reply: {position of each that is not consumed in this version, from 0}, {value or nil of each of them}, {positions of those that are
-- consumed and have been counted in this scan}, {positions of those that are consumed and yet in flight},
-- {positions of those that are not consumed in this version and have been counted in this scan all the same}, {positions of those
-- that are consumed and are not listed at the destination as the receipt has it}, {value of each of them}
--
-- A receipt that is as new as the listing is not held against it. Numbers that this language cannot hold exactly count as different: who
-- asks looks again.

local route = open_route(KEYS[1])
local numbers, digests, bodies, began = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local call, hget, places, values, found = redis.call, 'HGET', {}, {}, 0
local flight, early = KEYS[1] .. ':flight', KEYS[1] .. ':early'
local counted, awaited, ended, doubted, receipts = {}, {}, {}, {}, {}
local any_flight, any_early = call('EXISTS', flight) == 1, call('EXISTS', early) == 1

-- consumed_as(value, kind, body): a token says by itself where it ends, so that as many equal bytes are an equal token
local function consumed_as(value, kind, body)
  local header = byte(value, 1)
  if header % 4 == 0 or floor(header / 4) % 4 ~= kind then return false end
  local at = 2
  while byte(value, at) > 127 do at = at + 1 end
  return sub(value, at + 1, at + #body) == body
end

-- borne_out(value, said): whether the destination lists what the receipt names; `said` is its size and token
local function borne_out(value, said)
  local record = parse(value)
  local receipt = record.receipt
  if struct.unpack('>I4', receipt, 2) >= began then return true end
  local _, at = varint(receipt, 6)
  local size = sub(receipt, 6, at - 1)
  if sub(said, 1, #size) ~= size then return false end
  local header, token = byte(receipt, 1), sub(said, #size + 1)
  if floor(header / 16) % 2 == 1 then at = at + 4 end
  local kind = floor(header / 32)
  if kind == 4 then return token == record.consumed end
  if kind ~= byte(token, 1) then return false end
  if kind ~= 2 then return sub(receipt, at) == sub(token, 2) end
  local away, number = varint(receipt, at), varint(token, 2)
  if away >= 2 ^ 53 or number >= 2 ^ 53 then return false end
  if away % 2 == 1 then away = -(away + 1) / 2 else away = away / 2 end
  return away + struct.unpack('>I4', receipt, 2) * 1000000 == number
end

local count = #numbers / 4
local said_at = 4 + (bodies == '' and count * 2 or count)

for n = 1, count do
  local value = call(hget, bucket_of(route, number_at(numbers, n)), ARGV[n + 4])
  local same = false
  if value and bodies ~= '' then
    same = consumed_as(value, 0, sub(bodies, n * 16 - 15, n * 16))
  elseif value then
    local token = ARGV[n + 4 + count]
    same = consumed_as(value, byte(token, 1), sub(token, 2))
  end
  if not same then
    found = found + 1
    places[found] = n - 1
    values[found] = value
    if value and any_early and call('SISMEMBER', early, sub(digests, n * 20 - 19, n * 20)) == 1 then ended[#ended + 1] = n - 1 end
  elseif any_early and call('SISMEMBER', early, sub(digests, n * 20 - 19, n * 20)) == 1 then
    counted[#counted + 1] = n - 1
  elseif began and not borne_out(value, ARGV[said_at + n]) then
    doubted[#doubted + 1] = n - 1
    receipts[#receipts + 1] = value
  elseif any_flight and call('HEXISTS', flight, sub(digests, n * 20 - 19, n * 20)) == 1 then
    awaited[#awaited + 1] = n - 1
  end
end
return {places, values, counted, awaited, ended, doubted, receipts}
