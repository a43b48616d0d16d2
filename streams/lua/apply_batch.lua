-- Apply one batch: exam rows, shares of cells, change notice, notes on results and position, all or nothing.
-- Refused when another worker has claimed the partition (epoch) or the batch does not start at the position.
--
-- KEYS: position, changes, results, then for each row its hash, then the hashes of cells
-- ARGV: epoch, expected position ('' when none yet), next position, complete_ms, notice, stream length, notes on results ('' for
--       none), entries with notes kept, number of rows, for each row: field, value; then for each hash of cells: number of
--       arguments, field, value, field, value ...
-- All numbers stay strings: Lua's are doubles.
local position, changes, results = KEYS[1], KEYS[2], KEYS[3]
local epoch, expected, next_position, complete_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local notice, stream_length, notes, notes_kept, rows = ARGV[5], ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
local call = redis.call

local stored = call('HMGET', position, 'epoch', 'next', 'changed_ms', 'complete_ms')
if stored[1] ~= epoch then return {'fenced', stored[1] or ''} end
if (stored[2] or '') ~= expected then return {'moved', stored[2] or ''} end

-- Never behind what was stored before, should the server's clock step back: resuming readers ask by this time.
local time = call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if stored[3] and tonumber(stored[3]) > now_ms then now_ms = tonumber(stored[3]) end
local changed = struct.pack('>d', now_ms)
if stored[4] and tonumber(stored[4]) > tonumber(complete_ms) then complete_ms = stored[4] end

local at = 10
for row = 4, rows + 3 do
  call('HSET', KEYS[row], ARGV[at], ARGV[at + 1])
  at = at + 2
end
for cells = rows + 4, #KEYS do
  local last = at + tonumber(ARGV[at])
  at = at + 1
  if last == at + 1 then
    call('HSET', KEYS[cells], ARGV[at], changed .. ARGV[last])
  else
    for value = at + 1, last, 2 do ARGV[value] = changed .. ARGV[value] end
    -- unpack fails near 8,000 values.
    for first = at, last, 4000 do
      call('HSET', KEYS[cells], unpack(ARGV, first, math.min(first + 3999, last)))
    end
  end
  at = last + 1
end

local changed_ms = string.format('%d', now_ms)
call('HSET', position, 'next', next_position, 'complete_ms', complete_ms, 'changed_ms', changed_ms)
if notice ~= '' then
  call('XADD', changes, 'MAXLEN', '~', stream_length, '*', 'cells', notice)
end
if notes ~= '' then
  call('XADD', results, 'MAXLEN', '~', notes_kept, '*', 'results', notes, 'changed_ms', changed_ms)
end
return {'applied', changed_ms}
