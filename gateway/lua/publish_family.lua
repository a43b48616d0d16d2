-- Publish what changed in one family: its state, the published cells and the change notice, all or nothing.
-- Refused when another publisher has taken over (epoch), or when Redis is not where this publisher left it (next).
--
-- KEYS: position, changes, families, then the hash of cells of each organization that changed
-- ARGV: epoch, expected number of this write, family, its state, notice ('' for none), stream length, then for each
--       organization: its published cell without the stamp, '' when it is gone
-- The stamp (schemas.disclosure.published): when it changed, as Redis has it, and how often it was published.
local position, changes, families = KEYS[1], KEYS[2], KEYS[3]
local epoch, expected, field, state = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local notice, stream_length = ARGV[5], ARGV[6]
local call = redis.call

local stored = call('HMGET', position, 'epoch', 'next', 'changed_ms')
if stored[1] ~= epoch then return {'fenced', stored[1] or ''} end
local number = stored[2] or '0'
if number ~= expected then return {'moved', number} end

-- Never behind what was stored before, should the server's clock step back: resuming readers ask by this time.
local time = call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if stored[3] and tonumber(stored[3]) > now_ms then now_ms = tonumber(stored[3]) end

call('HSET', families, field, state)
for at = 4, #KEYS do
  local cell = ARGV[at + 3]
  if cell == '' then
    call('HDEL', KEYS[at], field)
  else
    local before = call('HGET', KEYS[at], field)
    local version = before and select(2, struct.unpack('>dI4', before)) or 0
    call('HSET', KEYS[at], field, struct.pack('>dI4', now_ms, version + 1) .. cell)
  end
end
call('HSET', position, 'next', string.format('%d', tonumber(number) + 1))
if notice ~= '' then
  call('HSET', position, 'changed_ms', string.format('%d', now_ms))
  call('XADD', changes, 'MAXLEN', '~', stream_length, '*', 'cells', notice)
end
return {'published', string.format('%d', now_ms)}
