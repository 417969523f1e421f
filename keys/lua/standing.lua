-- Tell how far events of one shard have come.
--
-- KEYS 1 {sNN}:leases
-- ARGV 1 now_ms or 0   then ids of events
-- Returns for each: 1 drained, 0 waiting, -1 not in the stream, or not any more.

local function parts(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end

local drained_ms, drained_sequence = parts(redis.call('GET', tag .. 'drained') or '0-0')
local standings = {}
for position = 2, #ARGV do
  local id = ARGV[position]
  local ms, sequence = parts(id)
  if #redis.call('XRANGE', tag .. 'events', id, id) == 0 then
    standings[#standings + 1] = -1
  elseif ms < drained_ms or (ms == drained_ms and sequence <= drained_sequence) then
    standings[#standings + 1] = 1
  else
    standings[#standings + 1] = 0
  end
end
return standings
