-- Who publishes, how far that has come, and what time it is; and, once a second, that whoever asks is there.
-- KEYS: position. ARGV: epoch of whoever asks
-- Returns: server time in ms, epoch, number of the next write, owner ('' for what there is not)
local position, epoch = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local stored = redis.call('HMGET', position, 'epoch', 'next', 'owner', 'heard_ms')
-- Of one that was replaced nothing is written: it would hide that the other one has died.
if stored[1] == epoch then
  local silent_ms = now_ms - tonumber(stored[4] or '0')
  if silent_ms >= 1000 or silent_ms < 0 then -- below 0: the server's clock has gone back
    -- pcall: a Redis that takes no writes still says who publishes.
    redis.pcall('HSET', position, 'heard_ms', string.format('%d', now_ms))
  end
end
return {string.format('%d', now_ms), stored[1] or '', stored[2] or '', stored[3] or ''}
