-- Takes a run of import sequence numbers: above every earlier one, and never below the clock.
--
-- The clock keeps the order when Redis has lost its data: numbers given out then are still above those in the log.
-- Doubles hold these numbers exactly until the year 2255 (2^53 microseconds); they leave as text.
--
-- KEYS[1]  scores:imports:sequence, the last number taken
-- ARGV[1]  how many to take
-- returns  the first number of the run
local now = redis.call('TIME')
local first = tonumber(now[1]) * 1000000 + tonumber(now[2])
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
if last >= first then
  first = last + 1
end
redis.call('SET', KEYS[1], string.format('%.0f', first + tonumber(ARGV[1]) - 1))
return string.format('%.0f', first)
