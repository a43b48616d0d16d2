-- Read all release states, with the version that they make up.
--
-- KEYS: version, entries, changed_ms
-- Returns: version ('' when they were never written), changed_ms, entries as field, value, field, value, ...
local version, entries, changed_ms = KEYS[1], KEYS[2], KEYS[3]

return {redis.call('GET', version) or '', redis.call('GET', changed_ms) or '0', redis.call('HGETALL', entries)}
