-- One request against an exact sliding window.
--
-- limit    how many a window grants, from a line put before this one
-- window   the window, microseconds, from there too
-- ttl      time to live of the key, milliseconds, longer than the window, from there too
-- KEYS[1]  list of the times of the admitted requests, ascending, microseconds
-- ARGV[1]  now, microseconds; absent for the server's clock
--
-- Returns, as one text, which the client reads more cheaply than a list: 1 if admitted else 0, how many the window holds
-- now, age of the oldest of them in microseconds.

local log, now = KEYS[1], tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local expired, oldest = 0, tonumber(redis.call('LINDEX', log, 0))
while oldest and oldest + window < now do
  expired = expired + 1
  oldest = tonumber(redis.call('LINDEX', log, expired))
end

local length = redis.call('LLEN', log)
local used = length - expired
local now_text = string.format('%.0f', now)

-- The clock was set back: what seems to come from the future was made just now.
for at = length - 1, expired + 1, -1 do
  if tonumber(redis.call('LINDEX', log, at)) <= now then break end
  redis.call('LSET', log, at, now_text)
end
if oldest and oldest > now then
  redis.call('LSET', log, expired, now_text)
  oldest = now
end

local admitted = 0
if used < limit then
  redis.call('RPUSH', log, now_text)
  redis.call('PEXPIRE', log, ttl)
  admitted, used, oldest = 1, used + 1, oldest or now
end

-- Last, and never all of it: an emptied list is gone, and a cluster that moves its slot takes no new key here.
if expired > 0 then redis.call('LTRIM', log, expired, -1) end
return string.format('%d %d %.0f', admitted, used, now - oldest)
