-- Makes, changes or deletes one webhook endpoint, unless somebody else has changed it since it was read.
--
-- The version is a time, so that it never repeats: not even after a Redis that lost the last of its data.
--
-- KEYS[1]  {webhooks}:endpoints
-- KEYS[2]  {webhooks}:version
-- KEYS[3]  {webhooks}:orders
-- ARGV[1]  the endpoint
-- ARGV[2]  what is stored of it, as it was read; empty when there was none
-- ARGV[3]  what shall be stored; empty to delete it
-- ARGV[4]  the version by which this was decided; empty when no other endpoint was looked at
-- ARGV[5]  the order that tells the delivering worker
-- ARGV[6]  orders that are kept, about; the oldest beyond are of a worker that has not run for long
-- returns  1; 0 when something has changed meanwhile
local stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local version = redis.call('GET', KEYS[2]) or '0'
if stored ~= ARGV[2] or (ARGV[4] ~= '' and ARGV[4] ~= version) then
  return 0
end
local now = redis.call('TIME')
local following = math.max(tonumber(now[1]) * 1000000 + tonumber(now[2]), tonumber(version) + 1)
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
redis.call('SET', KEYS[2], string.format('%.0f', following))
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*', 'order', ARGV[5])
return 1
