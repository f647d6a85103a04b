-- KEYS are a stream and the mark of an id for each message; ARGV are the window in
-- milliseconds, the length to trim to (0: none), and for each message its ordering key,
-- the number of its fields and values, and these. It returns for each message "s"
-- (stored), "d" (duplicate), "n" (not tried), or the error.
local window, maxlen = ARGV[1], ARGV[2]
local results, stopped, at = {}, {}, 3
for i = 1, #KEYS / 2 do
	local stream, mark = KEYS[2 * i - 1], KEYS[2 * i]
	local key, first = ARGV[at], at + 2
	local last = first + tonumber(ARGV[at + 1]) - 1
	at = last + 1
	local result
	if key ~= '' and stopped[key] then
		result = 'n'
	else
		local marked = redis.pcall('SET', mark, '1', 'NX', 'PX', window)
		if not marked then
			-- A write, so that WAIT waits for what was written before. The mark may be
			-- no string, or have gone: it does not matter.
			redis.pcall('PEXPIRE', mark, window)
			result = 'd'
		elseif marked.err then
			result = marked.err
		else
			local added
			if maxlen == '0' then
				added = redis.pcall('XADD', stream, '*', unpack(ARGV, first, last))
			else
				added = redis.pcall('XADD', stream, 'MAXLEN', '~', maxlen, '*', unpack(ARGV, first, last))
			end
			if type(added) == 'table' and added.err then
				redis.call('DEL', mark)
				result = added.err
			else
				result = 's'
			end
		end
		if result ~= 's' and result ~= 'd' then
			stopped[key] = true
		end
	end
	results[i] = result
end
return results
