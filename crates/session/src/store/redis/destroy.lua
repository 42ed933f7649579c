-- ARGV: 3 id. Answers 1 ended, 0 was gone.
local id, record = current(ARGV[3])
if not record or not is_record(record) then return 0 end
local all, records, e, gone = redis.call('HGETALL', key), 0, false, {}
for at = 1, #all, 2 do
  local field, value = all[at], all[at + 1]
  if field == 'e' then
    e = true
  elseif #field == 16 and is_forward(value) then
    if now >= int(value, 2, 7) or string.sub(value, 8, 23) == id then gone[#gone + 1] = field end
  elseif #field == 16 and field ~= id then
    records = records + 1
  end
end

-- An empty hash is no longer there to be asked while a cluster moves its slot, so its deletion comes last.
if records == 0 and not e then
  redis.call('DEL', key)
else
  for _, field in ipairs(gone) do redis.call('HDEL', key, field) end
  drop(id, record)
end
return 1
