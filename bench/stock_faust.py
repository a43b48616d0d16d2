"""The peer: the same job as Faust's documentation would have it, one event at a time.

Same broker, topic, Redis and figures: keep the highest version of each exam, retract what it contributed, add what it
contributes now, on four organization levels. Each event costs one read and one write, in one of two ways:

* ``increments``: one MULTI of HINCRBYs, the usual way to keep counters in Redis from a stream;
* ``script``: one Lua script a event, for those who go further.

What it promises is less: no fence, no position in Redis. A crash between Redis and the offset commit counts twice.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import faust
import msgspec
from redis.asyncio import Redis

from schemas.assessments import load_registry
from schemas.events import ExamResult, microseconds
from schemas.identifiers import OrganizationId, ancestry
from schemas.topics import EXAM_RESULTS

KAFKA = os.environ["SCORES_KAFKA"]
REDIS_URL = os.environ["SCORES_REDIS_URL"]
WAY = os.environ.get("BENCH_WAY", "increments")

_SCRIPT = """
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored and tonumber(string.match(stored, '^%d+')) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
local function count(packed, sign)
  local school, cell, fields = string.match(packed, '^%d+|(%d+)|([^|]*)|(.*)$')
  if not school or cell == '' then return end
  local above = {school, string.sub(school, 1, 7)..'0000000', string.sub(school, 1, 2)..'000000000000', '00000000000000'}
  for _, organization in ipairs(above) do
    for field, number in string.gmatch(fields, '([^=,]+)=(%d+)') do
      redis.call('HINCRBY', 'naive:'..organization..':'..cell, field, sign * tonumber(number))
    end
  end
end
if stored then count(stored, -1) end
count(ARGV[3], 1)
return 1
"""

app = faust.App(
    os.environ.get("BENCH_GROUP", "stock-faust"),
    broker=[f"kafka://{address}" for address in KAFKA.split(",")],
    consumer_auto_offset_reset="earliest",
    broker_max_poll_records=5_000,
    topic_disable_leader=True,
    topic_allow_declare=False,
    web_enabled=False,
    datadir=Path(tempfile.gettempdir()) / "stock-faust",
)
results = app.topic(EXAM_RESULTS, key_serializer="raw", value_serializer="raw")
redis = Redis.from_url(REDIS_URL)
registry = load_registry()
decode = msgspec.json.Decoder(ExamResult).decode
script = redis.register_script(_SCRIPT)


def contribution(event: ExamResult) -> str:
    """Version, school, cell and the counters that this exam adds to, as text."""
    version = microseconds(event.status_date)
    if event.status in {"reset", "invalidated"} or event.scale_score is None or event.level is None:
        return f"{version}|||"
    assessment = registry.resolve(event.assessment_id, event.school_year)
    score = event.scale_score
    fields = [
        "results=1",
        "with_scores=1",
        f"score_sum={score}",
        f"score_sum_sq={score * score}",
        f"level_{event.level}=1",
        f"score_{score}=1",
        *(f"claim_{claim.code}_{claim.level}=1" for claim in event.claims if claim.level),
    ]
    cell = f"{event.school_year}:{assessment.test}:{assessment.grades[0]}"
    return f"{version}|{event.school}|{cell}|{','.join(fields)}"


def increments(packed: str, sign: int) -> Iterator[tuple[str, str, int]]:
    """Every (hash, field, amount) of a contribution, on four levels."""
    _, school, cell, fields = packed.split("|")
    if not school:
        return
    for organization in ancestry(OrganizationId(school)):
        for pair in fields.split(","):
            field, number = pair.split("=")
            yield f"naive:{organization}:{cell}", field, sign * int(number)


@app.agent(results)
async def aggregate(stream: faust.StreamT[bytes]) -> None:
    async for value in stream:
        event = decode(value)
        exam = f"{event.assessment_id}/{event.opportunity_id}"
        packed = contribution(event)
        rows = f"naive:exams:{hash(event.student_id) % 16_384}"
        if WAY == "script":
            await script(keys=[rows], args=[exam, packed.split("|")[0], packed])
            continue
        stored = await redis.hget(rows, exam)
        before = stored.decode() if isinstance(stored, bytes) else ""
        if before and int(before.split("|")[0]) >= int(packed.split("|")[0]):
            continue
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hset(rows, exam, packed)
            if before:
                for name, field, amount in increments(before, -1):
                    pipe.hincrby(name, field, amount)
            for name, field, amount in increments(packed, 1):
                pipe.hincrby(name, field, amount)
            await pipe.execute()


if __name__ == "__main__":
    sys.argv = ["faust", "-A", "bench.stock_faust", "worker", "-l", "warn", "--without-web"]
    app.main()
