-- Puts reports on the stream of the errors (see _file.lua).
-- KEYS 1 stream   2 subjects (see _file.lua)
-- ARGV messages: 12 bytes that name the subject, then the report
-- Reply: how many there were. Again: each counts once more.

local clock = redis.call('TIME')
for i = 1, #ARGV do file(KEYS[1], KEYS[2], ARGV[i], clock[1] * 1000 + math.floor(clock[2] / 1000)) end
return #ARGV
