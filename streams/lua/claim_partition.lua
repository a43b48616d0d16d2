-- Claim a partition: mint the next epoch and hand out the position to seek to.
-- From then on every older epoch's writes are refused (see apply_batch.lua).
local position = KEYS[1]
local owner, log_identity = ARGV[1], ARGV[2]

local stored_log = redis.call('HGET', position, 'log')
if stored_log and stored_log ~= log_identity then
  return {'log_replaced', stored_log}
end
local epoch = redis.call('HINCRBY', position, 'epoch', 1)
redis.call('HSET', position, 'owner', owner, 'log', log_identity)
return {'claimed', tostring(epoch), redis.call('HGET', position, 'next') or ''}
