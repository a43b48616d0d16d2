-- Move the time up to which a partition is complete forward, also when nothing arrives: its owner has read to the end.
-- Refused like a batch (see apply_batch.lua): tables that were rolled back are not complete, and their owner must hear of it.
-- KEYS: position. ARGV: epoch, expected position ('' when none yet), complete_ms
local position = KEYS[1]
local epoch, expected, complete_ms = ARGV[1], ARGV[2], ARGV[3]
local stored = redis.call('HMGET', position, 'epoch', 'next', 'complete_ms', 'catch_up')
if stored[1] ~= epoch then return {'fenced', stored[1] or ''} end
if (stored[2] or '') ~= expected then return {'moved', stored[2] or ''} end
if not stored[3] or tonumber(stored[3]) < tonumber(complete_ms) then
  redis.call('HSET', position, 'complete_ms', complete_ms)
end
-- Where only markers of transactions follow, the position alone would never get there.
if stored[4] then redis.call('HDEL', position, 'catch_up') end
return {'applied', complete_ms}
