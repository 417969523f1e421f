-- Hold or drop one tool session of a key, and tell all gateway processes how long the key has any.
-- KEYS: the keys with sessions, by their end; the sessions of this key, by their end.
-- ARGV: "hold" or "drop", key's id, session's id, milliseconds to hold it, sessions at most, channel.
-- Answers the milliseconds for which the key has a session, 0 for none.

local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now_ms)
if ARGV[1] == 'hold' then
  redis.call('ZADD', KEYS[2], now_ms + ARGV[4], ARGV[3])
  -- Beyond the bound those go first that would end first; theirs renew them if they live.
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[5])
else
  redis.call('ZREM', KEYS[2], ARGV[3])
end

local left_ms = 0
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
if last[2] then
  left_ms = last[2] - now_ms
  redis.call('ZADD', KEYS[1], last[2], ARGV[2])
  redis.call('PEXPIREAT', KEYS[2], last[2])
else
  redis.call('ZREM', KEYS[1], ARGV[2])
end
redis.call('PUBLISH', ARGV[6], ARGV[2] .. ' ' .. string.format('%d', left_ms))
return left_ms
