-- Claim a partition: mint the next epoch and hand out the position to seek to.
-- From then on every older epoch's writes are refused (see apply_batch.lua).
-- KEYS: position. ARGV: owner, log identity, end of the log ('0' when it is empty or not known)
local position = KEYS[1]
local owner, log_identity, log_end = ARGV[1], ARGV[2], ARGV[3]

local stored_log = redis.call('HGET', position, 'log')
if stored_log and stored_log ~= log_identity then
  return {'log_replaced', stored_log}
end
-- By the clock, not by counting: a Redis that has lost its tail would count to the same epoch twice, and a worker from
-- before the loss could write beside the one from after it. Microseconds since 1970 are exact in a double until 2255.
local time = redis.call('TIME')
local last = tonumber(redis.call('HGET', position, 'epoch') or '0')
local epoch = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('HSET', position, 'epoch', epoch, 'owner', owner, 'log', log_identity)
local next_position = redis.call('HGET', position, 'next')
-- Tables that start from nothing are not whole before they reach the end that the log has now.
if not next_position and log_end ~= '0' then
  redis.call('HSETNX', position, 'catch_up', log_end)
end
return {'claimed', epoch, next_position or '', redis.call('HGET', position, 'catch_up') or ''}
