-- ARGV: 3 user or ''; 4 id; 5 record; 6 epoch read before; 7 maximum sessions; 8 id to replace or
-- ''; 9 expiry of its forward; 10 number of fields to carry over; their names; then name and value
-- of each new field. Returns 1 created, 0 epoch raised meanwhile, -1 hash of another user.
local user, id, record = ARGV[3], ARGV[4], ARGV[5]
local owner = redis.call('HGET', key, 'u')
if owner and owner ~= user then return -1 end
local e = epoch()
if e ~= tonumber(ARGV[6]) then return 0 end

local data_at, fields, bytes = 11 + tonumber(ARGV[10]), 0, 0
local function give(name, value)
  redis.call('HSET', key, id .. name, value)
  fields, bytes = fields + 1, bytes + #name + #value
end

if ARGV[8] ~= '' then
  local old, replaced = live(ARGV[8])
  if old then
    for at = 11, data_at - 1 do
      local value = redis.call('HGET', key, old .. ARGV[at])
      if value then give(ARGV[at], value) end
    end
    drop(old, replaced)
    redis.call('HSET', key, old, '\0' .. pack(tonumber(ARGV[9]), 6) .. id)
  end
end

for at = data_at, #ARGV, 2 do give(ARGV[at], ARGV[at + 1]) end
if fields > 0 then record = splice(record, 22, pack(fields, 1) .. pack(bytes, 2)) end

local all, alive, last = redis.call('HGETALL', key), {}, deadline(record)
for at = 1, #all, 2 do
  local field, value = all[at], all[at + 1]
  if #field == 16 then
    if is_forward(value) then
      if now >= int(value, 2, 7) then redis.call('HDEL', key, field) end
    elseif not is_record(value) then
      redis.call('HDEL', key, field)
    elseif now >= deadline(value) or int(value, 16, 21) ~= e then
      drop(field, value)
    else
      alive[#alive + 1] = { field, value }
      last = math.max(last, deadline(value))
    end
  end
end
table.sort(alive, function(a, b) return created(a[2]) < created(b[2]) end)
for at = 1, #alive - tonumber(ARGV[7]) + 1 do drop(alive[at][1], alive[at][2]) end

if user ~= '' then redis.call('HSET', key, 'u', user) end
redis.call('HSET', key, id, record)
if e > 0 then last = math.max(last, now + redis.call('PTTL', key)) end
redis.call('PEXPIRE', key, last - now)
return 1
