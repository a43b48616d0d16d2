-- Become the relay that works, if none does: mint the next epoch, under which the positions are written.
-- KEYS: lease, epoch. ARGV: milliseconds
-- By the clock, not by counting alone: a Redis that has lost its tail would count to the same epoch twice.
local lease, last_epoch = KEYS[1], KEYS[2]
local held = redis.call('GET', lease)
if held then return {'held', held} end
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', last_epoch) or '0')
local epoch = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('SET', last_epoch, epoch)
redis.call('SET', lease, epoch, 'PX', ARGV[1])
return {'taken', epoch}
