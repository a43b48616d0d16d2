-- Become the one publisher: mint the next epoch. From then on every older epoch's writes are refused (publish_family.lua).
-- KEYS: position. ARGV: owner
-- By the clock, not by counting: a Redis that has lost its tail would count to the same epoch twice.
local position, owner = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local last = tonumber(redis.call('HGET', position, 'epoch') or '0')
local epoch = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('HSET', position, 'epoch', epoch, 'owner', owner)
return {epoch, redis.call('HGET', position, 'next') or '0'}
