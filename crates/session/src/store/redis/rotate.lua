-- ARGV: 3 id; 4 new id; 5 new record; 6 expiry of the forward. Returns 1 rotated, 2 rotated before,
-- 0 gone.
local id, record = live(ARGV[3])
if not id then return 0 end
if id ~= ARGV[3] then return 2 end
redis.call('HSET', key, ARGV[4], splice(ARGV[5], 2, string.sub(record, 2, 24)))
if int(record, 22, 22) > 0 then
  for _, field in ipairs(data_fields(id)) do
    redis.call('HSET', key, ARGV[4] .. string.sub(field, 17), redis.call('HGET', key, field))
    redis.call('HDEL', key, field)
  end
end
redis.call('HSET', key, id, '\0' .. pack(tonumber(ARGV[6]), 6) .. ARGV[4])
return 1
