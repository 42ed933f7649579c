-- One request against an exact sliding window.
--
-- KEYS[1]  list of the times of the admitted requests, ascending, microseconds
-- ARGV[1]  how many a window grants
-- ARGV[2]  the window, microseconds
-- ARGV[3]  time to live of the key, milliseconds, longer than the window
-- ARGV[4]  now, microseconds; empty for the server's clock
--
-- Returns { 1 if admitted else 0, how many the window holds now, age of the oldest of them in microseconds }.

local log, limit, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local now
if ARGV[4] == '' then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
else
  now = tonumber(ARGV[4])
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
for at = length - 1, expired, -1 do
  if tonumber(redis.call('LINDEX', log, at)) <= now then break end
  redis.call('LSET', log, at, now_text)
end
if oldest and oldest > now then oldest = now end

local admitted = 0
if used < limit then
  redis.call('RPUSH', log, now_text)
  redis.call('PEXPIRE', log, ARGV[3])
  admitted, used, oldest = 1, used + 1, oldest or now
end

-- Last, and never all of it: an emptied list is gone, and a cluster that moves its slot takes no new key here.
if expired > 0 then redis.call('LTRIM', log, expired, -1) end
return { admitted, used, now - oldest }
