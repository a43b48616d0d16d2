-- Which of some keys exist: their numbers, from 1.
-- KEYS: any
local found = {}
for index = 1, #KEYS do
  if redis.call('EXISTS', KEYS[index]) == 1 then found[#found + 1] = index end
end
return found
