-- Move the time up to which a partition is complete forward, also when nothing arrives.
local position = KEYS[1]
local epoch, complete_ms = ARGV[1], ARGV[2]
local stored = redis.call('HMGET', position, 'epoch', 'complete_ms')
if stored[1] ~= epoch then return 0 end
if stored[2] and tonumber(stored[2]) >= tonumber(complete_ms) then return 0 end
redis.call('HSET', position, 'complete_ms', complete_ms)
return 1
