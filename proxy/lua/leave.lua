-- Give a place at an account back.
--
-- KEYS 1 {aN}:slots   ARGV 1 lease

return redis.call('ZREM', KEYS[1], ARGV[1])
