-- Notes that an exam is about to be produced under a student, and answers with all that is known of the exam.
--
-- It runs before anything is produced, so that of two imports of one exam at least one knows of the other's student.
--
-- KEYS[1]  scores:imports:exams:<bucket>
-- ARGV[1]  field: digest of the exam's identity
-- ARGV[2]  holder: pseudonym (12 bytes) and school year (2 bytes)
-- returns  newest version (16 bytes) and its holder (14 bytes), zeros while nothing is confirmed; then every holder ever
local HEAD, HOLDER = 30, 14
local history = redis.call('HGET', KEYS[1], ARGV[1]) or string.rep('\0', HEAD)
for start = HEAD + 1, #history, HOLDER do
  if string.sub(history, start, start + HOLDER - 1) == ARGV[2] then
    return history
  end
end
history = history .. ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], history)
return history
