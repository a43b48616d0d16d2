-- Apply one batch: exam rows, cells, change notice and position, all or nothing.
-- Refused when another worker has claimed the partition (epoch) or the batch does not start at the position.
--
-- KEYS: position, changes, then the hashes of exam rows, then the hashes of cells
-- ARGV: epoch, expected position ('' when none yet), next position, complete_ms, notice, stream length,
--       number of row hashes, then for each hash: number of arguments, field, value, field, value ...
-- All numbers stay strings: Lua's are doubles.
local position, changes = KEYS[1], KEYS[2]
local epoch, expected, next_position, complete_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local notice, stream_length, row_hashes = ARGV[5], ARGV[6], tonumber(ARGV[7])

local stored = redis.call('HMGET', position, 'epoch', 'next', 'changed_ms', 'complete_ms')
if stored[1] ~= epoch then return {'fenced', stored[1] or ''} end
if (stored[2] or '') ~= expected then return {'moved', stored[2] or ''} end

-- Never behind what was stored before, should the server's clock step back: resuming readers ask by this time.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if stored[3] and tonumber(stored[3]) > now_ms then now_ms = tonumber(stored[3]) end
local changed = struct.pack('>d', now_ms)
if stored[4] and tonumber(stored[4]) > tonumber(complete_ms) then complete_ms = stored[4] end

local at = 8
for index = 3, #KEYS do
  local last = at + tonumber(ARGV[at])
  at = at + 1
  if index - 2 > row_hashes then
    for value = at + 1, last, 2 do ARGV[value] = changed .. ARGV[value] end
  end
  -- unpack fails near 8,000 values.
  while at <= last do
    local stop = math.min(at + 3999, last)
    redis.call('HSET', KEYS[index], unpack(ARGV, at, stop))
    at = stop + 1
  end
end

redis.call('HSET', position, 'next', next_position, 'complete_ms', complete_ms, 'changed_ms', string.format('%d', now_ms))
if notice ~= '' then
  redis.call('XADD', changes, 'MAXLEN', '~', stream_length, '*', 'cells', notice)
end
return {'applied', string.format('%d', now_ms)}
