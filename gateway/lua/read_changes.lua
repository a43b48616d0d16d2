-- Read the change notices of some partitions after the last ones we know, and, in the same instant, how far that reaches.
--
-- KEYS: for each partition its changes and its position
-- ARGV: how many at most of each; then for each partition the last known entry ('' for none: start at the newest)
-- Returns for each: server time in ms, complete_ms ('' when none yet), 'start' | 'read' | 'gap', entry to go on from, notices,
--   whether the partition is claimed (1, 0), next offset ('' when nothing was applied), catch_up ('' when none)
local limit = tonumber(ARGV[1])
local time = redis.call('TIME')
local now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))

local function read(changes, position, last)
  local stored = redis.call('HMGET', position, 'complete_ms', 'next', 'catch_up')
  local complete_ms = stored[1] or ''
  local claimed, next_offset, catch_up = redis.call('EXISTS', position), stored[2] or '', stored[3] or ''

  -- The last entry we know must still be there: when it was trimmed away, or the server came back with an older state,
  -- entries may have gone that we never saw. A short stream that we knew as empty has lost nothing yet.
  local known
  if last == '0-0' then
    known = redis.call('XLEN', changes) <= limit
  else
    known = last ~= '' and #redis.call('XRANGE', changes, last, last) == 1
  end
  if not known then
    local newest = redis.call('XREVRANGE', changes, '+', '-', 'COUNT', 1)
    local outcome = last == '' and 'start' or 'gap'
    local go_on = newest[1] and newest[1][1] or '0-0'
    return {now_ms, complete_ms, outcome, go_on, {}, claimed, next_offset, catch_up}
  end

  local notices = {}
  local found = redis.call('XREAD', 'COUNT', limit, 'STREAMS', changes, last)
  if found then
    for _, entry in ipairs(found[1][2]) do
      last = entry[1]
      notices[#notices + 1] = entry[2][2]
    end
  end
  return {now_ms, complete_ms, 'read', last, notices, claimed, next_offset, catch_up}
end

local replies = {}
for partition = 1, #KEYS / 2 do
  replies[partition] = read(KEYS[2 * partition - 1], KEYS[2 * partition], ARGV[partition + 1])
end
return replies
