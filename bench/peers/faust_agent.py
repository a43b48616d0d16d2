"""Stock Faust, as its documentation has it: ``async for`` over the stream, one event at a time.

Each event costs one read and one write, in one of two ways:

* ``increments``: an HGET, then one MULTI of HINCRBYs, the usual way to keep counters in Redis from a stream;
* ``script``: one Lua script an event, for those who go further.

Stored versions make the replay after a crash harmless in both. ``increments`` decides between two round trips, so two
workers that overlap in a rebalance may both add.
"""

from __future__ import annotations

import os
import sys
from zlib import crc32

import faust
from redis.asyncio import Redis

from bench.peers.job import (
    FIGURES,
    changes,
    decode,
    exam_id,
    from_text,
    supersedes,
    to_text,
    version_of,
)
from bench.peers.surroundings import FLUSH_SECONDS, SESSION_SECONDS, Surroundings

BUCKETS = (
    16_384  # hashes that hold the exams; one hash for a season's worth would be resized while everybody waits
)
BY_SCRIPT = os.environ.get("BENCH_WAY") == "script"

_SCRIPT = """
-- KEYS[1]: the exam's bucket; ARGV: the exam, its version as text
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local function order(text)
  local date, sequence = string.match(text, '^(%d+)|(%d+)|')
  return tonumber(date), tonumber(sequence)
end
if stored then
  local old_date, old_sequence = order(stored)
  local date, sequence = order(ARGV[2])
  if old_date > date or (old_date == date and old_sequence >= sequence) then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local function count(text, sign)
  local school, cell, score, level = string.match(text, '^%d+|%d+|([^|]*)|([^|]*)|(%d+)|(%d+)$')
  if school == '' then return end
  local above = {school, string.sub(school, 1, 7)..'0000000', string.sub(school, 1, 2)..'000000000000', '00000000000000'}
  for _, organization in ipairs(above) do
    local key = 'sums:'..organization..':'..cell
    redis.call('HINCRBY', key, 'results', sign)
    if level ~= '0' then
      redis.call('HINCRBY', key, 'with_scores', sign)
      redis.call('HINCRBY', key, 'score_sum', sign * tonumber(score))
      redis.call('HINCRBY', key, 'level_'..level, sign)
    end
  end
end
if stored then count(stored, -1) end
count(ARGV[2], 1)
return 1
"""

around = Surroundings.from_environment()
app = faust.App(
    around.group,
    broker=[f"kafka://{address}" for address in around.kafka.split(",")],
    consumer_auto_offset_reset="earliest",
    broker_commit_interval=FLUSH_SECONDS,
    broker_session_timeout=SESSION_SECONDS,
    broker_heartbeat_interval=SESSION_SECONDS / 3,
    broker_max_poll_records=5_000,
    topic_disable_leader=True,
    topic_allow_declare=False,
    web_enabled=False,
    datadir=around.folder / "faust",
)
results = app.topic(around.topic, key_serializer="raw", value_serializer="raw")
redis = Redis(host=around.redis_host, port=around.redis_port, decode_responses=True)
script = redis.register_script(_SCRIPT)


@app.agent(results)
async def aggregate(stream: faust.StreamT[bytes]) -> None:
    """The whole job."""
    async for value in stream:
        exam = decode(value)
        name, version = exam_id(exam), version_of(exam)
        bucket = f"exams:{crc32(name.encode()) % BUCKETS}"
        if BY_SCRIPT:
            await script(keys=[bucket], args=[name, to_text(version)])
            continue
        text = await redis.hget(bucket, name)
        old = from_text(text) if isinstance(text, str) else None
        if not supersedes(version, old):
            continue
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hset(bucket, name, to_text(version))
            for organization, cell, figures in changes(old, version):
                for figure, amount in zip(FIGURES, figures, strict=True):
                    if amount:
                        pipe.hincrby(f"sums:{organization}:{cell}", figure, amount)
            await pipe.execute()


if __name__ == "__main__":
    sys.argv = ["faust", "-A", "bench.peers.faust_agent", "worker", "-l", "warn", "--without-web"]
    app.main()
