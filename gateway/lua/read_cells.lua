-- Read the named cells of some organizations from every partition's tables, by one command instead of one for each.
--
-- KEYS: for each organization its cells in each partition
-- ARGV: how many partitions; then for each organization how many names, and the names
-- Returns for each key the stored values by name, nil where there is none.
local partitions = tonumber(ARGV[1])
local replies = {}
local at = 2
for first = 1, #KEYS, partitions do
  local names = {}
  for one = 1, tonumber(ARGV[at]) do
    names[one] = ARGV[at + one]
  end
  at = at + #names + 1
  for number = first, first + partitions - 1 do
    replies[number] = redis.call('HMGET', KEYS[number], unpack(names))
  end
end
return replies
