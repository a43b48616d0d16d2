-- Read some fields of many hashes in one call.
-- KEYS: the hashes. ARGV: for each hash the number of fields, then the fields. Returns all values, flat.
local values = {}
local at = 1
for index = 1, #KEYS do
  local count = tonumber(ARGV[at])
  for first = at + 1, at + count, 4000 do
    local some = redis.call('HMGET', KEYS[index], unpack(ARGV, first, math.min(first + 3999, at + count)))
    for i = 1, #some do values[#values + 1] = some[i] end
  end
  at = at + count + 1
end
return values
