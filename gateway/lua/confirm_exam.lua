-- Notes that Kafka has acknowledged a version of an exam under a student; the highest version is remembered.
--
-- KEYS[1]  scores:imports:exams:<bucket>
-- ARGV[1]  field: digest of the exam's identity
-- ARGV[2]  holder: pseudonym (12 bytes) and school year (2 bytes)
-- ARGV[3]  version: status date and sequence, 8 bytes each, big-endian
-- returns  as claim_exam.lua
local HEAD, HOLDER, VERSION = 30, 14, 16

-- Not with "<": Redis compares strings by the server's locale, and these are bytes.
local function newer(a, b)
  for i = 1, VERSION do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return false
end

local history = redis.call('HGET', KEYS[1], ARGV[1])
if not history then -- lost since the claim
  history = string.rep('\0', HEAD) .. ARGV[2]
end
if newer(ARGV[3], history) then
  history = ARGV[3] .. ARGV[2] .. string.sub(history, HEAD + 1)
  redis.call('HSET', KEYS[1], ARGV[1], history)
end
return history
