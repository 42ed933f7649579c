-- ARGV: 3 id to keep or ''; 4 how long to remember the epoch in ms. Returns 1 done, 0 when the
-- session to keep is gone.
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

-- HSET comes before HDEL, so that the hash is never empty. While a cluster moves the slot it
-- creates no key here, and the epoch would be lost.
redis.call('HSET', key, 'e', string.format('%.0f', e))
if keep then redis.call('HSET', key, keep, splice(record, 16, pack(e, 6))) end
-- unpack() is limited by the size of Lua's stack.
for at = 1, #gone, 1000 do redis.call('HDEL', key, unpack(gone, at, math.min(at + 999, #gone))) end
redis.call('PEXPIRE', key, math.max(tonumber(ARGV[4]), redis.call('PTTL', key)))
return 1
