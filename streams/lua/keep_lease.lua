-- Hold on to a rebuild for a while longer, unless it was stopped, given up, or taken over meanwhile.
-- KEYS: rebuild, lease. ARGV: holder of the lease, milliseconds, generation that is rebuilt
local rebuild, lease = KEYS[1], KEYS[2]
local holder, milliseconds, generation = ARGV[1], ARGV[2], ARGV[3]
local held = redis.call('GET', lease)
if held and held ~= holder then return {'taken', held} end
if redis.call('HGET', rebuild, 'generation') ~= generation then return {'gone', ''} end
local stop = redis.call('HGET', rebuild, 'stop')
if stop then return {'stop', stop} end
redis.call('SET', lease, holder, 'PX', milliseconds)
return {'kept', holder}
