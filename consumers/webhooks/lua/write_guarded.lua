-- Carry out some commands, all or none, for the one worker that delivers, and renew its lease.
-- Refused when another worker has taken over (epoch), or when Redis is not where this one left it (sequence): then it has
-- lost what was written last.
--
-- KEYS: worker, lease, then the key of each command
-- ARGV: epoch, expected sequence, holder, milliseconds that the lease lasts, then for each command: its name, how many
--       arguments it has after the key, and those
local worker, lease = KEYS[1], KEYS[2]
local epoch, expected, holder, milliseconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local call = redis.call

local stored = call('HMGET', worker, 'epoch', 'sequence')
if stored[1] ~= epoch then return {'fenced', stored[1] or ''} end
local sequence = stored[2] or '0'
if sequence ~= expected then return {'moved', sequence} end

local at = 5
for key = 3, #KEYS do
  local count = tonumber(ARGV[at + 1])
  call(ARGV[at], KEYS[key], unpack(ARGV, at + 2, at + 1 + count))
  at = at + 2 + count
end
call('HSET', worker, 'sequence', string.format('%d', tonumber(sequence) + 1))
call('SET', lease, holder, 'PX', milliseconds)
return {'written', sequence}
