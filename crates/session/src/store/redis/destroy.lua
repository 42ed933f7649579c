-- ARGV: 3 id; 4 '' or the expiry of a forward that leads nowhere and takes its place. Returns 1
-- ended, 0 was gone.
local id, record = current(ARGV[3])
if not record or not is_record(record) then return 0 end
local nowhere, leave = string.rep('\0', 16), tonumber(ARGV[4])
local all, records, e, gone, last = redis.call('HGETALL', key), 0, false, {}, leave
for at = 1, #all, 2 do
  local field, value = all[at], all[at + 1]
  if field == 'e' then
    e = true
  elseif #field == 16 and is_forward(value) then
    local ends, to = int(value, 2, 7), string.sub(value, 8, 23)
    if now >= ends or to == id and not leave then
      gone[#gone + 1] = field
    elseif to == nowhere then
      last = math.max(last or 0, ends)
    end
  elseif #field == 16 and field ~= id then
    records = records + 1
  end
end

-- DEL comes last: while a cluster moves the slot, commands on a hash that is gone are redirected.
if records == 0 and not e and not last then
  redis.call('DEL', key)
  return 1
end
for _, field in ipairs(gone) do redis.call('HDEL', key, field) end
if leave then
  drop_data(id, record)
  redis.call('HSET', key, id, '\0' .. pack(leave, 6) .. nowhere)
  keep_until(leave)
else
  drop(id, record)
end
if records == 0 and not e then redis.call('PEXPIRE', key, last - now) end
return 1
