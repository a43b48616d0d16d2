-- Become the one worker that delivers, unless another holds the lease: mint the next epoch. From then on every older
-- epoch's writes are refused (write_guarded.lua).
--
-- KEYS: worker, lease
-- ARGV: holder, milliseconds that the lease lasts
-- Returns: 'held', who, milliseconds left; or 'claimed', epoch, sequence, time in ms
local worker, lease = KEYS[1], KEYS[2]
local holder, milliseconds = ARGV[1], ARGV[2]

local held = redis.call('GET', lease)
if held and held ~= holder then return {'held', held, tostring(redis.call('PTTL', lease))} end
-- By the clock, not by counting: a Redis that has lost its tail would count to the same epoch twice.
local time = redis.call('TIME')
local last = tonumber(redis.call('HGET', worker, 'epoch') or '0')
local epoch = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('SET', lease, holder, 'PX', milliseconds)
redis.call('HSET', worker, 'epoch', epoch, 'owner', holder)
local now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
return {'claimed', epoch, redis.call('HGET', worker, 'sequence') or '0', now_ms}
