-- End rests before their time, or remove those whose time has come.
--
-- KEYS 1 claudcode:rest
-- ARGV 1 channel to announce it on   2 "ended" or "expired"   then fields
-- With "expired", a field is removed only if its rest is over; nobody needs to be told.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local expired = ARGV[2] == 'expired'
for position = 3, #ARGV do
  local field = ARGV[position]
  local old = redis.call('HGET', KEYS[1], field)
  if old and not (expired and cjson.decode(old)['until_ms'] > now) then
    redis.call('HDEL', KEYS[1], field)
    if not expired then redis.call('PUBLISH', ARGV[1], field) end
  end
end
return 0
