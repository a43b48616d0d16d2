-- Put entries of a compacted topic and move the position of one of its partitions; without a partition, put nothing and
-- say that the table is there.
-- KEYS: entries, version, position, and changed_ms where the table has one. ARGV: log, partition ('' when none), expected
-- position ('' when none), next position, channel to tell the new version ('' when none), field, entry, ...
local entries, version, position, changed_ms = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local log, partition, expected, next_position, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if partition ~= '' then
  local stored = redis.call('HGET', position, partition) or ''
  if stored ~= expected then return {'moved', stored} end
  for first = 6, #ARGV, 4000 do
    redis.call('HSET', entries, unpack(ARGV, first, math.min(first + 3999, #ARGV)))
  end
  redis.call('HSET', position, partition, next_position)
end
redis.call('HSET', position, 'log', log)
-- By the clock, not by counting: after a loss in Redis it would count to the same version twice, with other entries.
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', version) or '0')
local grown = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('SET', version, grown)
if changed_ms then
  redis.call('SET', changed_ms, string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
end
if channel ~= '' then redis.call('PUBLISH', channel, grown) end
return {'applied', next_position}
