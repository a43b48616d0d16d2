-- Asks something of the worker that delivers webhooks, about an endpoint that there is.
--
-- KEYS[1]  {webhooks}:endpoints
-- KEYS[2]  {webhooks}:orders
-- KEYS[3]  {webhooks}:lease
-- ARGV[1]  the endpoint
-- ARGV[2]  the order
-- ARGV[3]  how many orders may wait
-- returns  the order's id, and 1 when a worker is there; nothing when too many wait, and an empty id for an endpoint that is gone
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return {'', 0}
end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[3]) then
  return false
end
return {redis.call('XADD', KEYS[2], '*', 'order', ARGV[2]), redis.call('EXISTS', KEYS[3])}
