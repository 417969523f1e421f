-- Take a place at an upstream account that has limits of its own, over all gateways.
--
-- KEYS 1 {aN}:slots, a sorted set of leases by expiry. Beside it {aN}:minute, a hash of seconds and
--      how often was sent in them. Neither has a TTL: they must not vanish, and what is over is
--      removed whenever they are looked at.
-- ARGV 1 concurrency or -1   2 requests a minute or -1   3 lease   4 lease_ttl_ms
-- Returns 0 if the place was taken, else the milliseconds after which to ask again.

local minute = string.gsub(KEYS[1], 'slots$', 'minute')
local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second * 1000 + math.floor(tonumber(time[2]) / 1000)
local concurrency, rpm = tonumber(ARGV[1]), tonumber(ARGV[2])

if concurrency >= 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
  if redis.call('ZCARD', KEYS[1]) >= concurrency then return 1000 end
end
if rpm >= 0 then
  local sent, oldest = 0, second
  local seconds = redis.call('HGETALL', minute)
  for position = 1, #seconds, 2 do
    local then_second = tonumber(seconds[position])
    if then_second < second - 60 then -- Over only when its last instant is.
      redis.call('HDEL', minute, seconds[position])
    else
      sent = sent + tonumber(seconds[position + 1])
      oldest = math.min(oldest, then_second)
    end
  end
  if sent >= rpm then return (oldest + 61) * 1000 - now end
  redis.call('HINCRBY', minute, time[1], 1)
end
if concurrency >= 0 then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[4])), ARGV[3])
end
return 0
