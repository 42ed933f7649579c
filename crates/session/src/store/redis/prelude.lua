-- Shared head of every script. KEYS[1] is the user's hash, ARGV[1] the time in ms, ARGV[2] the idle
-- timeout in ms or 0.
local key, now, idle = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

local function int(bytes, from, to)
  local n = 0
  for at = from, to do n = n * 256 + string.byte(bytes, at) end
  return n
end

local function pack(n, len)
  local out = ''
  for _ = 1, len do
    out = string.char(n % 256) .. out
    n = math.floor(n / 256)
  end
  return out
end

local function splice(bytes, from, part)
  return string.sub(bytes, 1, from - 1) .. part .. string.sub(bytes, from + #part)
end

local function is_record(bytes) return #bytes >= 24 and string.byte(bytes, 1) ~= 0 end
local function is_forward(bytes) return #bytes == 23 and string.byte(bytes, 1) == 0 end
local function created(record) return int(record, 2, 7) end

-- The idle timeout in ms: the sign-in's own, or else the application's. The former is extension 1,
-- behind method, client and address.
local function idle_timeout(record)
  local at = 33
  for _ = 1, 3 do
    local len = string.byte(record, at)
    if not len then return idle end
    at = at + 1 + len
  end
  while at + 1 <= #record do
    local kind, len = string.byte(record, at, at + 1)
    if at + 1 + len > #record then return idle end
    if kind == 1 and len == 5 and string.byte(record, at + 2) % 4 >= 2 then
      return int(record, at + 3, at + 6) * 1000
    end
    at = at + 2 + len
  end
  return idle
end

local function deadline(record)
  local absolute, idle = created(record) + int(record, 8, 11) * 1000, idle_timeout(record)
  if idle == 0 then return absolute end
  return math.min(absolute, created(record) + int(record, 12, 15) * 1000 + idle)
end

local function epoch() return tonumber(redis.call('HGET', key, 'e') or '0') end

-- Follows forwards from `id`. Returns the id that has a record, and the record.
local function current(id)
  for _ = 1, 16 do
    local found = redis.call('HGET', key, id)
    if not found or not is_forward(found) then return id, found end
    if now >= int(found, 2, 7) then return id, false end
    id = string.sub(found, 8, 23)
  end
  return id, false
end

-- Like current(), but nil unless the session is alive.
local function live(id)
  local at, record = current(id)
  if not record or not is_record(record) then return nil end
  if int(record, 16, 21) ~= epoch() or now >= deadline(record) then return nil end
  return at, record
end

local function data_fields(id)
  local found = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if #field > 16 and string.sub(field, 1, 16) == id then found[#found + 1] = field end
  end
  return found
end

local function drop_data(id, record)
  if int(record, 22, 22) > 0 then
    for _, field in ipairs(data_fields(id)) do redis.call('HDEL', key, field) end
  end
end

local function drop(id, record)
  drop_data(id, record)
  redis.call('HDEL', key, id)
end

local function keep_until(at)
  if redis.call('PTTL', key) < at - now then redis.call('PEXPIRE', key, at - now) end
end
