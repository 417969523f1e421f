-- Housekeeping of one shard: abandon what expired, forget old tombs, drop windows long idle.
--
-- KEYS 1 {sNN}:leases
-- ARGV 1 now_ms or 0   2 how many of each at the most
-- Returns {abandoned, tombs forgotten, windows dropped}.

local now, most = clock(ARGV[1]), tonumber(ARGV[2])
local abandoned = abandon_expired(now, most)

local tombs = redis.call('ZRANGEBYSCORE', tag .. 'tombs', '-inf', whole(now), 'LIMIT', 0, most)
for _, exchange in ipairs(tombs) do
  redis.call('DEL', tag .. 'x:' .. exchange)
  redis.call('ZREM', tag .. 'tombs', exchange)
end

local dropped = 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', tag .. 'idle', '-inf', whole(now), 'LIMIT', 0, most)) do
  local scope = string.match(name, '^[^:]+')
  local encoded = redis.call('HGET', tag .. 'c:' .. scope, name)
  local window = encoded and open(cjson.decode(encoded), now)
  if window and (window.used > 0 or window.held > 0) then
    redis.call('ZADD', tag .. 'idle', whole(now + KEEP_IDLE_MS), name)
  else
    redis.call('DEL', tag .. 'w:' .. name)
    redis.call('HDEL', tag .. 'c:' .. scope, name)
    redis.call('ZREM', tag .. 'idle', name)
    dropped = dropped + 1
  end
end
return {abandoned, #tombs, dropped}
