-- ARGV: 3 id to keep or '', 4 how long to remember the epoch in ms. Answers 1 done, 0 the one to keep is gone.
local keep, record, kept = nil, nil, {}
if ARGV[3] ~= '' then
  keep, record = live(ARGV[3])
  if not keep then return 0 end
  local all = redis.call('HGETALL', key)
  for at = 1, #all, 2 do
    local field, value = all[at], all[at + 1]
    local is_data = #field > 16 and string.sub(field, 1, 16) == keep
    local leads_here = #field == 16 and is_forward(value) and current(field) == keep
    if is_data or leads_here then kept[#kept + 1] = { field, value } end
  end
end
local e = math.max(epoch() + 1, now)
local user = redis.call('HGET', key, 'u')
local remember = math.max(tonumber(ARGV[4]), redis.call('PTTL', key))

redis.call('DEL', key)
redis.call('HSET', key, 'e', string.format('%.0f', e))
if user then redis.call('HSET', key, 'u', user) end
if keep then
  redis.call('HSET', key, keep, splice(record, 16, pack(e, 6)))
  for _, field in ipairs(kept) do redis.call('HSET', key, field[1], field[2]) end
end
redis.call('PEXPIRE', key, remember)
return 1
