-- Who publishes, how far that has come, and what time it is.
-- KEYS: position. Returns: server time in ms, epoch, number of the next write, owner ('' for what there is not)
local time = redis.call('TIME')
local now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'next', 'owner')
return {now_ms, stored[1] or '', stored[2] or '', stored[3] or ''}
