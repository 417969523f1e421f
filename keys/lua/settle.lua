-- Replace what was held by what was used, free the lease, append the ledger event.
--
-- KEYS 1 {sNN}:leases
-- ARGV 1 now_ms or 0   2 exchange id   3 mode: settle | lost | again | void
--      4 tokens   5 nano-dollars   6 closing
--      7 scopes and 8 opening, for lost and again only
--      9 tokens, 10 nano-dollars and 11 instant of its abandonment, for lost, if the ledger has one
--
-- settle: the ordinary case. Returns -1 and does nothing when the exchange is not known here.
-- again: an earlier try may have gone through. An exchange still known is settled; one that was settled
--       here is recorded once more (the ledger takes it once) and charged nothing. Otherwise the store
--       forgot it, or another server settled it before this one took over, or it was written to the
--       ledger a while ago: returns -1 and does nothing, for only the ledger can tell.
-- lost: the caller knows that this exchange is in no ledger: charge, count and record it from what the
--       caller still has, unless it was settled here.
-- void: the caller never learnt whether it was admitted, and relayed nothing: free it and record
--       it, charged what is given (that is, nothing); nothing at all when it is not known.
-- Returns {1, charged_at_ms, id of the event}, or {-1, now_ms, ''}.

local now, exchange, mode = clock(ARGV[1]), ARGV[2], ARGV[3]
local tokens, nanousd, closing = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local key = tag .. 'x:' .. exchange
local x = redis.call('HMGET', key, 'k', 'h', 'o', 'at', 'ct', 'cn')
local scopes, opening = x[1], x[3]

-- Until the drain is past its event, which is then in the ledger, it is known that it was charged.
local function settled(opening, scopes, anchors)
  local event = record(exchange, now, opening, closing, scopes, anchors)
  redis.call('ZADD', tag .. 'settled', string.match(event, '^%d+'), exchange)
  return {1, now, event}
end

if not scopes then
  if mode == 'settle' or mode == 'void' then return {-1, now, ''} end
  local charged = redis.call('ZSCORE', tag .. 'settled', exchange)
  if mode == 'again' and not charged then return {-1, now, ''} end
  local anchors = ''
  if not charged then
    -- Windows that were loaded from the ledger count its abandonment, and its request.
    local before = ARGV[9] and {tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])}
    anchors = charge(ARGV[7], {}, tokens, nanousd, now, before)
    if not before then count_requests_again(ARGV[7], ARGV[8], now) end
    -- A renewal that crosses this one must not take the lease again.
    redis.call('HSET', key, 's', 1)
    redis.call('ZADD', tag .. 'tombs', whole(now + KEEP_SETTLED_MS), exchange)
  end
  return settled(ARGV[8], ARGV[7], anchors)
end

local before, holds = nil, {}
if x[4] then
  before = {tonumber(x[5]), tonumber(x[6]), tonumber(x[4])}
  redis.call('ZREM', tag .. 'tombs', exchange)
else
  holds = cjson.decode(x[2])
  redis.call('ZREM', tag .. 'leases', exchange)
  leave(scopes)
end
local anchors = charge(scopes, holds, tokens, nanousd, now, before)
redis.call('DEL', key)
return settled(opening, scopes, anchors)
