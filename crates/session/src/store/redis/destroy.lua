-- ARGV: 3 id. Answers 1 ended, 0 was gone.
local id, record = current(ARGV[3])
if not record or not is_record(record) then return 0 end
drop(id, record)
local all, records, e = redis.call('HGETALL', key), 0, false
for at = 1, #all, 2 do
  local field, value = all[at], all[at + 1]
  if field == 'e' then
    e = true
  elseif #field == 16 then
    if is_forward(value) then
      if now >= int(value, 2, 7) or string.sub(value, 8, 23) == id then redis.call('HDEL', key, field) end
    else
      records = records + 1
    end
  end
end
if records == 0 and not e then redis.call('DEL', key) end
return 1
