-- ARGV: 3 id; 4 minimum age of "last seen" in ms before it is written, or ''; 5 maximum fields; 6
-- maximum bytes; then kind, name, value of each operation. Returns {1 done, 0 gone, -1 over budget,
-- -2 not a number; 1 if forwarded; 1 if anything changed; one reply per operation}.
local id, record = live(ARGV[3])
if not id then return { 0 } end
local fields, bytes, before, values, answers = int(record, 22, 22), int(record, 23, 24), {}, {}, {}

local function read(name)
  if values[name] == nil then
    before[name] = redis.call('HGET', key, id .. name)
    values[name] = before[name]
  end
  return values[name]
end

local function write(name, value)
  local old = read(name)
  if old then fields, bytes = fields - 1, bytes - #name - #old end
  if value then fields, bytes = fields + 1, bytes + #name + #value end
  values[name] = value
end

-- `both` is one byte (bit 0: expected is present, bit 1: new is present), the length of the
-- expected value (4 bytes), then both values.
local function compare_and_set(name, both)
  local there, expected_end = string.byte(both, 1), 5 + int(both, 2, 5)
  local expected = there % 2 == 1 and string.sub(both, 6, expected_end)
  local old = read(name)
  if old ~= expected then return old and '+' .. old or '-' end
  write(name, there >= 2 and string.sub(both, expected_end + 1))
  return '='
end

-- A double holds whole numbers exactly below 2^53.
local function exact(number) return math.abs(number) < 9007199254740992 end

for at = 7, #ARGV, 3 do
  local kind, name, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local answer = ''
  if kind == 's' then
    write(name, value)
  elseif kind == 'd' then
    write(name, false)
  elseif kind == 'n' then
    answer = read(name) and '0' or '1'
    if answer == '1' then write(name, value) end
  elseif kind == 'c' then
    answer = compare_and_set(name, value)
  elseif kind == 't' then
    answer = read(name)
    write(name, false)
  else
    local old = read(name) or '0'
    local number, by = string.match(old, '^-?%d+$') and tonumber(old), tonumber(value)
    if not number or not exact(number) or not exact(by) or not exact(number + by) then
      return { -2 }
    end
    local sum = number + by
    answer = string.format('%.0f', sum)
    write(name, answer)
  end
  answers[#answers + 1] = answer
end

local grown = fields > int(record, 22, 22) or bytes > int(record, 23, 24)
if grown and (fields > tonumber(ARGV[5]) or bytes > tonumber(ARGV[6])) then return { -1 } end
local changed = 0
for name, value in pairs(values) do
  if value ~= before[name] then
    changed = 1
    if value then
      redis.call('HSET', key, id .. name, value)
    else
      redis.call('HDEL', key, id .. name)
    end
  end
end

local updated = splice(record, 22, pack(fields, 1) .. pack(bytes, 2))
if ARGV[4] ~= '' then
  local seen, last = math.floor((now - created(record)) / 1000), int(record, 12, 15)
  if seen > last and seen - last >= math.floor(tonumber(ARGV[4]) / 1000) then
    updated = splice(updated, 12, pack(seen, 4))
  end
end
if updated ~= record then
  changed = 1
  redis.call('HSET', key, id, updated)
  keep_until(deadline(updated))
end
return { 1, id == ARGV[3] and 0 or 1, changed, unpack(answers) }
