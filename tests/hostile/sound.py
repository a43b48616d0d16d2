"""What mutation starts from: sound events and reports of a fictional county, and real samples where there are any."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import msgspec

from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.season import Season
from schemas.assessments import Assessment, Registry, load_registry
from schemas.events import ClaimScore, ExamResult, encode_event
from schemas.identifiers import StudentId
from schemas.pseudonyms import Pseudonymizer

SECRET = b"a secret of the hostile tests, of no value"
PSEUDONYMS = Pseudonymizer(SECRET)
YEAR = 2026

_FIXTURES = Path(__file__).parents[1] / "fixtures" / "trt"
_FIXTURE_SCHOOL = "99700012222222"
_REFERENCE = Path(__file__).parents[2] / ".." / "shared" / "reference"
# Their one fault is a school that is none of California's; with one of ours they are read to the end.
_SAMPLE_SCHOOL = b'"APTEST1"'
_GENERATED_SAMPLES = 60  # of some ten thousand that differ little

Fields = tuple[tuple[bytes, bytes], ...]  # names and values of a JSON object, as they stand in its text


class SoundEvent(NamedTuple):
    """An event to mutate."""

    event: ExamResult
    key: bytes
    fields: Fields
    assessment: Assessment


@cache
def registry() -> Registry:
    """The assessment registry, loaded once."""
    return load_registry()


@cache
def schools() -> tuple[str, ...]:
    """All schools that the directory has."""
    return (*(school.cds for school in plan_county(16, seed=7).schools), _FIXTURE_SCHOOL)


@cache
def events() -> tuple[SoundEvent, ...]:
    """Events of a season in which much happens, and one of every assessment with all it can say."""
    options = SeasonOptions(
        schools=16,
        results=400,
        rescores=0.2,
        resets=0.1,
        moves=0.1,
        oddities=0.2,
        corrections=0.02,
        strays=0.02,
        duplicates=0,
        disorder=0,
    )
    season = Season(plan_county(16, seed=7), registry(), PSEUDONYMS, options)
    simulated = [_sound(record.event, record.key.encode()) for record in season]
    rng = Random("every assessment")
    return (
        *simulated,
        *(_sound(_full(assessment, rng)) for assessment in registry().assessments(YEAR)),
    )


@cache
def reports() -> tuple[bytes, ...]:
    """The fixtures, and reports of the events above."""
    fixtures = [path.read_bytes() for path in sorted(_FIXTURES.glob("*.xml"))]
    made = [report_of(sound.event) for sound in events()[::7] if sound.event.school is not None]
    return (*fixtures * 4, *made)


@cache
def samples() -> tuple[bytes, ...]:
    """Real reports of the reference data; none where there is no such data."""
    folder = Path(os.environ.get("SCORES_REFERENCE_DATA") or _REFERENCE)
    found = [path.read_bytes() for path in sorted((folder / "trt-samples").glob("*.xml"))]
    for archive in sorted((folder / "generated-trt").glob("*.tar.gz")):
        with tarfile.open(archive) as members:
            found += islice(_contents(members), _GENERATED_SAMPLES)
    school = f'"{schools()[0]}"'.encode()
    return tuple(document.replace(_SAMPLE_SCHOOL, school) for document in found)


def fields_of(event: ExamResult) -> Fields:
    """An event's JSON taken apart."""
    parts = msgspec.json.decode(encode_event(event), type=dict[str, msgspec.Raw])
    return tuple((f'"{name}"'.encode(), bytes(value)) for name, value in parts.items())


def report_of(event: ExamResult) -> bytes:
    """A report that says what the event says."""
    examinee = [
        ("ExamineeAttribute", "StudentIdentifier", event.student_id),
        ("ExamineeAttribute", "GradeLevelWhenAssessed", event.enrolled_grade or event.grade),
        ("ExamineeAttribute", "Sex", event.subgroups.sex if event.subgroups else None),
        ("ExamineeRelationship", "SchoolId", event.school),
    ]
    scores = [("Overall", "ScaleScore", event.scale_score), ("Overall", "PerformanceLevel", event.level)]
    for claim in event.claims:
        scores += [(claim.code, "ScaleScore", claim.score), (claim.code, "PerformanceLevel", claim.level)]
    return "\n".join(
        [
            "<TDSReport>",
            f'<Test name={quoteattr(event.assessment_id)} grade="{event.grade}" academicYear="{event.school_year}"/>',
            '<Examinee key="1" isDemo="0">',
            *(
                f'<{tag} context="FINAL" name="{name}" value={quoteattr(str(value))}/>'
                for tag, name, value in examinee
                if value is not None
            ),
            "</Examinee>",
            f"<Opportunity oppId={quoteattr(event.opportunity_id)} status={quoteattr(event.status)}",
            f'statusDate="{event.status_date.isoformat()}"',
            f'dateCompleted="{(event.completed or event.status_date).isoformat()}"',
            f'validity="{event.validity}" completeness="{event.completeness}">',
            *(
                f'<Score measureOf="{of}" measureLabel="{label}" value="{value}" standardError="25"/>'
                for of, label, value in scores
                if value is not None
            ),
            "</Opportunity>",
            "</TDSReport>",
        ]
    ).encode()


def _contents(archive: tarfile.TarFile) -> Iterator[bytes]:
    for member in archive:
        file = archive.extractfile(member) if member.isfile() and member.name.endswith(".xml") else None
        if file is not None:
            yield file.read()


def _sound(event: ExamResult, key: bytes | None = None) -> SoundEvent:
    if key is None:
        key = PSEUDONYMS.student_key(StudentId(event.student_id or "")).encode()
    assessment = registry().resolve(event.assessment_id, event.school_year)
    return SoundEvent(event, key, fields_of(event), assessment)


def _full(assessment: Assessment, rng: Random) -> ExamResult:
    grade = rng.choice(assessment.grades)
    lowest, highest = assessment.score_range or (0, 4095)
    return ExamResult(
        assessment_id=registry().natural_id(assessment.test, grade, YEAR),
        opportunity_id=str(rng.randrange(10**6)),
        school_year=YEAR,
        status="scored",
        status_date=datetime(YEAR, 4, 29, 17, 15, 0, 123456, tzinfo=UTC),
        sequence=1,
        student_id=str(rng.randrange(7 * 10**9, 8 * 10**9)),
        school=rng.choice(schools()),
        grade=grade,
        enrolled_grade=grade,
        scale_score=rng.randint(lowest, highest),
        level=rng.randint(1, assessment.highest_level),
        claims=tuple(
            ClaimScore(claim.code, rng.randint(1, len(claim.levels))) for claim in assessment.claims
        ),
    )
