-- Takes a record's bytes apart and puts them together again; the format is described in records.py. Touches no key.
-- Included by other scripts ("-- include:" on their first line); every name below is theirs to use.

local byte, char, sub, floor = string.byte, string.char, string.sub, math.floor

-- varint(bytes, at) -> number, position after it
local function varint(bytes, at)
  local number, scale = 0, 1
  while true do
    local b = byte(bytes, at)
    at = at + 1
    if b < 128 then return number + b * scale, at end
    number = number + (b - 128) * scale
    scale = scale * 128
  end
end

local function to_varint(number)
  local out = ''
  while number > 127 do
    out = out .. char(number % 128 + 128)
    number = floor(number / 128)
  end
  return out .. char(number)
end

-- token_end(bytes, kind, at) -> position after the token's body that starts at `at`
local function token_end(bytes, kind, at)
  if kind == 0 then return at + 16 end
  if kind == 1 then at = at + 16 end
  local number, stop = varint(bytes, at)
  if kind == 3 then stop = stop + number end
  return stop
end

local function to_time(number) return struct.pack('>I4', number) end

-- parse(value) -> record; fields, nil where absent:
--   published (token: kind byte and body), at (when), consumed (token), worker (number), receipt (header bits and what follows the token)
local function parse(value)
  local header = byte(value, 1)
  local shape = header % 4
  local kind = floor(header / 4) % 4
  local record, at, stop = {}, 2, nil
  if shape == 0 then
    stop = token_end(value, kind, at)
    record.published = char(kind) .. sub(value, at, stop - 1)
    record.at = struct.unpack('>I4', value, stop)
    return record
  end
  record.worker, at = varint(value, at)
  stop = token_end(value, kind, at)
  record.consumed = char(kind) .. sub(value, at, stop - 1)
  at = stop
  local age
  if shape == 2 then
    record.published = record.consumed
  elseif shape == 3 then
    stop = token_end(value, byte(value, at), at + 1)
    record.published = sub(value, at, stop - 1)
    at = stop
  end
  if shape ~= 1 then
    age, at = varint(value, at)
    if age % 2 == 1 then age = -(age + 1) / 2 else age = age / 2 end
    record.at = struct.unpack('>I4', value, at) - age
  end
  record.receipt = char(header - header % 16) .. sub(value, at)
  return record
end

-- build(record) -> value; nil when neither record is left
local function build(record)
  local published, consumed = record.published, record.consumed
  if not consumed then
    if not published then return nil end
    return char(byte(published, 1) * 4) .. sub(published, 2) .. to_time(record.at)
  end
  local shape, middle = 1, ''
  if published then
    local age = struct.unpack('>I4', record.receipt, 2) - record.at
    if age < 0 then age = -age * 2 - 1 else age = age * 2 end
    shape, middle = 2, to_varint(age)
    if published ~= consumed then shape, middle = 3, published .. middle end
  end
  local header = shape + byte(consumed, 1) * 4 + byte(record.receipt, 1)
  return char(header) .. to_varint(record.worker) .. sub(consumed, 2) .. middle .. sub(record.receipt, 2)
end

-- has(value) -> published?, consumed?
local function has(value)
  local shape = byte(value, 1) % 4
  return shape ~= 1, shape ~= 0
end
