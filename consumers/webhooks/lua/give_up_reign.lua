-- Let go of the lease, so that another worker need not wait for its end.
-- KEYS: lease
-- ARGV: holder
local lease = KEYS[1]
local holder = ARGV[1]
if redis.call('GET', lease) == holder then return redis.call('DEL', lease) end
return 0
