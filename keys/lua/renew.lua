-- Renew the leases of one process on one shard, and note how far each exchange has come.
--
-- KEYS 1 {sNN}:leases
-- ARGV 1 now_ms or 0   2 lease_ttl_ms   then for each exchange: id, tokens, nano-dollars, closing
--      (an empty closing: no progress yet)
-- Returns the ids that are not known here. An abandoned one is known, and stays abandoned until
-- its holder settles it.

local now, ttl = clock(ARGV[1]), tonumber(ARGV[2])
local missing = {}
for position = 3, #ARGV, 4 do
  local exchange, key = ARGV[position], tag .. 'x:' .. ARGV[position]
  local x = redis.call('HMGET', key, 'k', 'at')
  if not x[1] then
    missing[#missing + 1] = exchange
  elseif not x[2] then
    redis.call('ZADD', tag .. 'leases', whole(now + ttl), exchange)
    if ARGV[position + 3] ~= '' then
      redis.call('HSET', key, 't', ARGV[position + 1], 'n', ARGV[position + 2],
        'c', ARGV[position + 3])
    end
  end
end
return missing
