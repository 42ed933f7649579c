-- Decides about one request by an exact sliding window, under one key or several at once.
--
-- limit    requests granted per window; the caller defines it above this line
-- window   the window in microseconds; likewise
-- ttl      time to live of a key in milliseconds, longer than the window; likewise, as text,
--          because command arguments are text
-- KEYS     the times of the admitted requests, ascending, in microseconds, eight bytes each;
--          one string, because reading a list costs a step per element
-- ARGV[1]  the time in microseconds; absent or empty for the server's clock
-- ARGV[i]  multiple of the limit granted to KEYS[i], from the second key on
--
-- A request is admitted if every key grants it. A refused one is counted under none.
--
-- Returns one string of three numbers, of 1, 4 and 8 bytes, because Redis encodes text and lists
-- more slowly: 1 if admitted, else 0; the number of requests in the window now; the age in
-- microseconds of the oldest of them. In a full window it is the age of the request whose expiry
-- makes room. The last two describe the first key or, when refused, the key that refuses for
-- longest.

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function read(key, grants)
  local log = redis.call('GET', key) or ''
  local size = #log
  if size % 8 ~= 0 then return nil end

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

  -- The clock was set back: times in the future become the present.
  local past = size
  while past > first and struct.unpack('<I8', log, past - 7) > now do past = past - 8 end
  local is_changed = past < size
  if is_changed then
    log = string.sub(log, 1, past) .. string.rep(struct.pack('<I8', now), (size - past) / 8)
    oldest = math.min(oldest, now)
  end

  -- The request whose expiry makes room is the oldest, unless the limit was lowered.
  if used >= grants then oldest = struct.unpack('<I8', log, size - grants * 8 + 1) end

  if first > 1 then log = string.sub(log, first) end
  local is_full = used >= grants
  return {
    key = key, log = log, used = used, oldest = oldest, is_changed = is_changed, is_full = is_full,
  }
end

local windows, refusing = {}, nil
for i = 1, #KEYS do
  local one = read(KEYS[i], i == 1 and limit or limit * tonumber(ARGV[i]))
  if not one then return redis.error_reply('WRONGTYPE not a log of a rate limit') end
  if one.is_full and not (refusing and refusing.oldest >= one.oldest) then refusing = one end
  windows[i] = one
end

for i = 1, #windows do
  local one = windows[i]
  if not refusing then
    one.log = one.log .. struct.pack('<I8', now)
    one.used = one.used + 1
    one.oldest = one.oldest or now
    one.is_changed = true
  end
  if one.is_changed then redis.call('SET', one.key, one.log, 'PX', ttl) end
end

local described = refusing or windows[1]
return struct.pack('<I1I4I8', refusing and 0 or 1, described.used, now - described.oldest)
