-- Empty one window at an operator's word. What is held by exchanges in flight stays held.
--
-- KEYS 1 {sNN}:leases
-- ARGV 1 now_ms or 0   2 name of the window
-- Returns the instant of the reset, or 0 when the window is not loaded: its next load starts at the
-- reset that the budget remembers.

local now = clock(ARGV[1])
local key = tag .. 'w:' .. ARGV[2]
if redis.call('EXISTS', key) == 0 then return 0 end
local gone = {}
for _, field in ipairs(redis.call('HKEYS', key)) do
  if string.sub(field, 1, 1) == 'b' then gone[#gone + 1] = field end
end
if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
redis.call('HSET', key, 'u', 0)
move(key, now)
if redis.call('HEXISTS', key, 'start') == 1 then
  redis.call('HSET', key, 'start', 0)
else
  local lowest = redis.call('HGET', key, 'hi')
  redis.call('HSET', key, 'lo', lowest)
end
return now
