-- Put rebuilt tables in place of those they were built beside, in one step.
-- Refused when somebody else works on the rebuild now, when it was given up, or when other tables serve by now.
-- KEYS: pointer, rebuild, lease. ARGV: holder of the lease, generation beside which was built, generation to serve
local pointer, rebuild, lease = KEYS[1], KEYS[2], KEYS[3]
local holder, beside, generation = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', lease) ~= holder then return {'taken', redis.call('GET', lease) or ''} end
if redis.call('HGET', rebuild, 'generation') ~= generation then return {'gone', ''} end
local serving = redis.call('GET', pointer)
if serving ~= beside then return {'moved', serving or ''} end
redis.call('SET', pointer, generation)
redis.call('HSET', rebuild, 'phase', 'serving')
return {'flipped', generation}
