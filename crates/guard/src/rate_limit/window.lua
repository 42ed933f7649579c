-- One request against an exact sliding window.
--
-- limit    how many a window grants, from a line put before this one
-- window   the window, microseconds, from there too
-- ttl      time to live of the key, milliseconds, longer than the window, from there too; as text, which is what a command takes
-- KEYS[1]  the times of the admitted requests, ascending, microseconds, eight bytes each: one string, which is read
--          and written in a step each, where a list takes one for every element looked at
-- ARGV[1]  now, microseconds; absent for the server's clock
--
-- Returns, in 1, 4 and 8 bytes, since Redis takes longer over a text or a list: 1 if admitted else 0, how many the window holds
-- now, age in microseconds of the oldest of them or, if it grants no more, of the one after which it does.

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local log = redis.call('GET', KEYS[1]) or ''
local size = #log
if size % 8 ~= 0 then return redis.error_reply('WRONGTYPE not a log of a rate limit') end

local first, oldest = 1, nil
while first < size do
  local at = struct.unpack('<I8', log, first)
  if at + window >= now then
    oldest = at
    break
  end
  first = first + 8
end
local used = (size + 1 - first) / 8

-- The clock was set back: what seems to come from the future was made just now.
local past = size
while past > first and struct.unpack('<I8', log, past - 7) > now do past = past - 8 end
local is_changed = past < size
if is_changed then
  log = string.sub(log, 1, past) .. string.rep(struct.pack('<I8', now), (size - past) / 8)
  oldest = math.min(oldest, now)
end

-- After which one more is granted: the oldest, unless the limit was lowered.
if used >= limit then oldest = struct.unpack('<I8', log, size - limit * 8 + 1) end

if first > 1 then log = string.sub(log, first) end
local admitted = 0
if used < limit then
  log = log .. struct.pack('<I8', now)
  admitted, used, oldest, is_changed = 1, used + 1, oldest or now, true
end

if is_changed then redis.call('SET', KEYS[1], log, 'PX', ttl) end
return struct.pack('<I1I4I8', admitted, used, now - oldest)
