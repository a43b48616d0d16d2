-- Note what Kafka has acknowledged of one partition: the last notice, and the entries with notes on results, which go.
-- Refused when another relay has taken over (epoch), or when Redis is not where it was read (last).
--
-- KEYS: relayed, results
-- ARGV: epoch, last notice when it was read ('' for none), last notice that is relayed now ('' to leave it), up to when cells
--       changed that are relayed ('' to leave it), identity of the topic, first entry with notes to keep ('' to keep all)
local relayed, results = KEYS[1], KEYS[2]
local epoch, expected, last, upto_ms, topic, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local call = redis.call

local known = call('HMGET', relayed, 'epoch', 'last')
if known[1] ~= epoch then return {'fenced', known[1] or ''} end
if (known[2] or '') ~= expected then return {'moved', known[2] or ''} end
if last ~= '' then call('HSET', relayed, 'last', last, 'topic', topic) end
if upto_ms ~= '' then call('HSET', relayed, 'upto_ms', upto_ms) end
if keep ~= '' then call('XTRIM', results, 'MINID', keep) end
return {'noted', last}
