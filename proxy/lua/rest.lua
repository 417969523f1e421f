-- Let an account rest for all gateways, unless it rests for longer already.
--
-- KEYS 1 claudcode:rest, a hash without TTL: it must not vanish while an account rests
-- ARGV 1 field: account id, or account id and model   2 milliseconds   3 strict, 1 or 0
--      4 failures in a row   5 fault   6 reason   7 channel to announce it on
-- Returns 1 if the rest was written.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local until_ms = now + tonumber(ARGV[2])
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and cjson.decode(old)['until_ms'] >= until_ms then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode({
  until_ms = until_ms, since_ms = now, strict = ARGV[3] == '1',
  failures = tonumber(ARGV[4]), fault = ARGV[5], reason = ARGV[6],
}))
redis.call('PUBLISH', ARGV[7], ARGV[1])
return 1
