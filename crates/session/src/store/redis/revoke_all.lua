-- ARGV: 3 id to keep or '', 4 how long to remember the epoch in ms. Answers 1 done, 0 the one to
-- keep is gone.
local keep, record
if ARGV[3] ~= '' then
  keep, record = live(ARGV[3])
  if not keep then return 0 end
end
local e, all, gone = math.max(epoch() + 1, now), redis.call('HGETALL', key), {}
for at = 1, #all, 2 do
  local field, value = all[at], all[at + 1]
  local is_kept = keep and (string.sub(field, 1, 16) == keep
    or #field == 16 and is_forward(value) and current(field) == keep)
  if #field >= 16 and not is_kept then gone[#gone + 1] = field end
end

-- Never empty in between: while its slot moves, a cluster takes no new key here, and what was
-- deleted would be lost.
redis.call('HSET', key, 'e', string.format('%.0f', e))
if keep then redis.call('HSET', key, keep, splice(record, 16, pack(e, 6))) end
-- Lua hands over only so many arguments at once.
for at = 1, #gone, 1000 do redis.call('HDEL', key, unpack(gone, at, math.min(at + 999, #gone))) end
redis.call('PEXPIRE', key, math.max(tonumber(ARGV[4]), redis.call('PTTL', key)))
return 1
