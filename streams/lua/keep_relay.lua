-- Remain the relay that works for a while longer, or (milliseconds 0) leave it to others, unless another one has taken over.
-- A lease that has expired, or that Redis has lost, is taken back: whoever took it meanwhile has a later epoch.
-- KEYS: lease, epoch. ARGV: our epoch, milliseconds
local lease, last_epoch = KEYS[1], KEYS[2]
local epoch, milliseconds = ARGV[1], ARGV[2]
local held = redis.call('GET', lease)
if held and held ~= epoch then return {'taken', held} end
local last = redis.call('GET', last_epoch)
if last and tonumber(last) > tonumber(epoch) then return {'taken', last} end
if milliseconds == '0' then
  redis.call('DEL', lease)
else
  redis.call('SET', lease, epoch, 'PX', milliseconds)
end
return {'kept', epoch}
