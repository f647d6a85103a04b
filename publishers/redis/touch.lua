-- KEYS: the stream. ARGV: group, name, milliseconds, ids …
-- Entries that are pending for the name are idle for so long from now on.
local touched = 0
for i = 4, #ARGV do
	if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
		redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3], 'JUSTID')
		touched = touched + 1
	end
end
return touched
