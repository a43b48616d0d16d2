-- Read what of one partition Kafka does not have yet, under our epoch: from here on older epochs can note nothing.
--
-- KEYS: relayed, changes, position, results (which need not exist)
-- ARGV: epoch, identity of the topic, notices at most, notices that a stream keeps at least, entries with notes at most
-- Returns: 'fenced', epoch | else: 'read' | 'start' | 'gap', last notice that was relayed ('' for none), notice to go on from,
--   up to when cells changed that are in these notices ('' when not all were read), up to when they are relayed ('' never),
--   notices, whether there are more (1, 0), whether the partition is claimed (1, 0), next offset ('' when nothing was
--   applied), catch_up ('' when none), results: id, notes, time, id, notes, time ..., and what time it is
local relayed, changes, position, results = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, topic = ARGV[1], ARGV[2]
local limit, least_kept, notes_limit = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local call = redis.call

local known = call('HMGET', relayed, 'epoch', 'last', 'upto_ms', 'topic')
if known[1] and tonumber(known[1]) > tonumber(epoch) then return {'fenced', known[1]} end
if known[1] ~= epoch then call('HSET', relayed, 'epoch', epoch) end
local last, upto_ms = known[2] or '', known[3] or ''
-- Another topic: it was deleted and made again, and has nothing of what was relayed.
if known[4] and known[4] ~= topic then last, upto_ms = '', '' end

local stored = call('HMGET', position, 'next', 'catch_up', 'changed_ms')
local claimed, next_offset, catch_up = call('EXISTS', position), stored[1] or '', stored[2] or ''
local changed_ms = stored[3] or '0'
-- No cell has changed later, also should the server's clock have stepped back.
local time = call('TIME')
local now_ms = string.format('%d', math.max(tonumber(changed_ms), time[1] * 1000 + math.floor(time[2] / 1000)))

local notes = {}
for _, entry in ipairs(call('XRANGE', results, '-', '+', 'COUNT', notes_limit)) do
  local fields = {}
  for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
  notes[#notes + 1] = entry[1]
  notes[#notes + 1] = fields['results']
  notes[#notes + 1] = fields['changed_ms']
end

-- The last notice that was relayed must still be there: when it was trimmed away, others may have gone that were not. A
-- stream with fewer than any keeps has lost none.
local there
if last == '0-0' then
  there = call('XLEN', changes) < least_kept
else
  there = last ~= '' and #call('XRANGE', changes, last, last) == 1
end
if not there then
  local newest = call('XREVRANGE', changes, '+', '-', 'COUNT', 1)
  local go_on = newest[1] and newest[1][1] or '0-0'
  local outcome = last == '' and 'start' or 'gap'
  return {
    outcome, known[2] or '', go_on, changed_ms, upto_ms, {}, 0, claimed, next_offset, catch_up, notes, now_ms,
  }
end

local go_on, notices = last, {}
local found = call('XREAD', 'COUNT', limit, 'STREAMS', changes, last)
if found then
  for _, entry in ipairs(found[1][2]) do
    go_on = entry[1]
    notices[#notices + 1] = entry[2][2]
  end
end
local more = #notices >= limit and 1 or 0
if more == 1 then changed_ms = '' end
return {'read', last, go_on, changed_ms, upto_ms, notices, more, claimed, next_offset, catch_up, notes, now_ms}
