-- Put directory entries and move the position of one partition of the organizations topic.
-- KEYS: entries, version, position. ARGV: log, partition, expected position ('' when none), next position, cds, entry, ...
local entries, version, position = KEYS[1], KEYS[2], KEYS[3]
local log, partition, expected, next_position = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local stored = redis.call('HGET', position, partition) or ''
if stored ~= expected then return {'moved', stored} end
for first = 5, #ARGV, 4000 do
  redis.call('HSET', entries, unpack(ARGV, first, math.min(first + 3999, #ARGV)))
end
redis.call('HSET', position, 'log', log, partition, next_position)
-- By the clock, not by counting: after a loss in Redis it would count to the same version twice, with other entries.
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', version) or '0')
redis.call('SET', version, string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2])))
return {'applied', next_position}
