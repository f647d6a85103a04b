-- KEYS: the stream, the stream of what is refused. ARGV: group, id, number of fields, fields
-- and values … The entry is added there and acknowledged here, unless that was done before.
-- One that was trimmed has no fields, and may be pending no more.
if ARGV[3] ~= '0' and #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then
	return 0
end
local add = {'XADD', KEYS[2], '*'}
for i = 4, #ARGV do
	add[#add + 1] = ARGV[i]
end
redis.call(unpack(add))
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
