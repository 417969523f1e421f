-- Renew the leases of one process at one account.
--
-- KEYS 1 {aN}:slots
-- ARGV 1 lease_ttl_ms   then leases
-- A lease that expired is taken again: its exchange is in flight, whatever the limit says.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for position = 2, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[1])), ARGV[position])
end
return 0
