"""Reads one exam report in the Test Results Transmission format (``TDSReport``) into an exam result event.

The dialects of the format (V3, AIR, the draft of 2014) name some attributes differently; all are read. A report that
cannot be used is refused with *every* fault it has, so that a data steward mends it in one round.

Several faults make one import status, the gravest: BAD_FORMAT before INVALID before UNKNOWN_ASMT before BAD_DATA. What
a graver fault hides cannot be judged: of a missing section nothing else is reported, and of an unknown assessment no
scores, because levels and ranges are the assessment's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

from schemas.assessments import Assessment, Registry
from schemas.errors import InvalidInput, UnknownAssessment
from schemas.events import ExamResult, Status
from schemas.identifiers import Grade, grade_from
from schemas.imports import FieldError, ImportStatus
from schemas.trt_faults import Faults, TrtRefused
from schemas.trt_scores import read_scores
from schemas.trt_student import read_enrolled_grade, read_school, read_student, read_subgroups
from schemas.trt_values import choice, flag, moment
from schemas.trt_xml import DEFAULT_LIMITS, Report, UnreadableXml, XmlLimits, read_report

__all__ = ["DEFAULT_LIMITS", "TrtReading", "TrtRefused", "XmlLimits", "read_trt"]

_Value = TypeVar("_Value")

_LONGEST_OPPORTUNITY: Final = 80
_STATUSES: Final[Mapping[str, Status]] = {status: status for status in get_args(Status)}
_COMPLETENESS: Final[Mapping[str, Literal["Complete", "Partial"]]] = {
    "complete": "Complete",
    "partial": "Partial",
}
_CONDITIONS: Final[Mapping[str, Literal["Valid", "SD", "NS", "IN"]]] = {
    "valid": "Valid",
    "sd": "SD",
    "ns": "NS",
    "in": "IN",
}
_VALIDITY: Final[Mapping[str, Literal["valid", "invalid"]]] = {"valid": "valid", "invalid": "invalid"}
# Of a finished exam we must know when: of a student's exams the one completed last counts.
_FINISHED: Final = frozenset({"scored", "completed", "reported", "appeal"})


class TrtReading(NamedTuple):
    """A report that can be used: the event, its ``sequence`` still 0, and what is odd about it but no fault."""

    event: ExamResult
    warnings: tuple[FieldError, ...] = ()


def read_trt(document: bytes, registry: Registry, *, limits: XmlLimits = DEFAULT_LIMITS) -> TrtReading:
    """Read one report; the caller gives the event its import sequence and checks the school against the directory.

    A ``reset`` needs only its identity, student, status and status date; nothing else of it is read or faulted.

    Raises:
        TrtRefused: with all faults.
    """
    try:
        report = read_report(document, limits)
    except UnreadableXml as error:
        fault = FieldError("document", "", str(error))
        raise TrtRefused(ImportStatus.BAD_FORMAT, (fault,)) from None
    faults = Faults()
    _check_structure(report, faults)
    event = _event(report, registry, faults)
    if event is None:
        raise faults.refusal()
    return TrtReading(event, faults.warnings())


def _check_structure(report: Report, faults: Faults) -> None:
    if report.root != "TDSReport":
        faults.add(
            "TDSReport",
            report.root,
            "the document is XML, but not an exam report; expected the element TDSReport",
            ImportStatus.INVALID,
        )
        return
    for name, section in (
        ("Test", report.test),
        ("Examinee", report.examinee),
        ("Opportunity", report.opportunity),
    ):
        if section is None:
            faults.add(name, "", f"the report has no {name} element; it needs one", ImportStatus.INVALID)
    for name in report.repeated:
        faults.add(
            name, "", f"the report has several {name} elements; send one exam a report", ImportStatus.INVALID
        )


def _event(report: Report, registry: Registry, faults: Faults) -> ExamResult | None:
    """The event; None when there are faults."""
    test, examinee, opportunity = report.test, report.examinee, report.opportunity
    assessment_id = assessment = student = opportunity_id = status = status_date = None
    if test is not None:
        assessment_id = test.get("name", "").strip()
        assessment = _assessment(test, assessment_id, registry, faults)
    if examinee is not None:
        if flag(examinee.get("isDemo")):
            faults.add(
                "Examinee/@isDemo", examinee["isDemo"], "a demonstration student; only real exams are taken"
            )
        student = read_student(report, faults)
    if opportunity is not None:
        opportunity_id = _opportunity_id(opportunity, faults)
        status = _attribute(opportunity, faults, "status", lambda text: choice(text, _STATUSES), "scored")
        status_date = _attribute(opportunity, faults, "statusDate", moment)
    details = {} if status == "reset" else _details(report, assessment, status, faults)
    if faults or not assessment_id or not assessment or not opportunity_id or not status or not status_date:
        return None
    return ExamResult(
        assessment_id=assessment_id,
        opportunity_id=opportunity_id,
        school_year=assessment.school_year,
        status=status,
        status_date=status_date,
        sequence=0,
        student_id=student,
        **details,
    )


def _details(
    report: Report, assessment: Assessment | None, status: Status | None, faults: Faults
) -> dict[str, Any]:
    """All that a reset does not need, as arguments of the event."""
    details: dict[str, Any] = {}
    if report.examinee is not None:
        details["school"] = read_school(report, faults)
        details["enrolled_grade"] = enrolled = read_enrolled_grade(report, faults)
        details["subgroups"] = read_subgroups(report)
        if assessment is not None and report.test is not None:
            details["grade"] = _grade(report.test, assessment, enrolled, faults)
    opportunity = report.opportunity
    if opportunity is None:
        return details
    details["completed"] = _completed(opportunity, status, faults)
    # Version 3 of the specification deprecates completeStatus, older ones preferred it.
    stated = "completeness" if opportunity.get("completeness", "").strip() else "completeStatus"
    details["completeness"] = _attribute(
        opportunity, faults, stated, lambda text: choice(text, _COMPLETENESS), "Complete"
    )
    details["validity"] = _attribute(
        opportunity, faults, "validity", lambda text: choice(text, _VALIDITY), "valid"
    )
    usual = "Valid" if assessment is None or assessment.kind == "SUM" else "SD"
    details["condition"] = _attribute(
        opportunity, faults, "administrationCondition", lambda text: choice(text, _CONDITIONS), usual
    )
    if assessment is not None:
        scores = read_scores(report, assessment, faults)
        details["scale_score"] = scores.score
        details["scale_score_text"] = scores.score_text
        details["scale_score_error"] = scores.score_error
        details["level"] = scores.level
        details["attempted"] = scores.attempted
        details["claims"] = scores.claims
    return details


def _assessment(test: Mapping[str, str], name: str, registry: Registry, faults: Faults) -> Assessment | None:
    if not name:
        faults.add("Test/@name", "", "the assessment's id is missing; give the id of its package")
        return None
    # 0 and 4294967295 occur, and 2016 for 2016-17; it counts only when the id has no year.
    year = test.get("academicYear", "").strip()
    try:
        return registry.resolve(
            name, int(year) if len(year) == 4 and year.isascii() and year.isdigit() else None
        )
    except UnknownAssessment as error:
        faults.add("Test/@name", name, str(error), ImportStatus.UNKNOWN_ASMT)
        return None


def _opportunity_id(opportunity: Mapping[str, str], faults: Faults) -> str | None:
    text = opportunity.get("oppId", "").strip()
    if not text:
        faults.add(
            "Opportunity/@oppId", "", "the opportunity's id is missing; without it the exam has no identity"
        )
    elif len(text) > _LONGEST_OPPORTUNITY:
        faults.add(
            "Opportunity/@oppId",
            text,
            f"it has {len(text)} characters; at most {_LONGEST_OPPORTUNITY} are allowed",
        )
    else:
        return text
    return None


def _attribute(
    opportunity: Mapping[str, str],
    faults: Faults,
    name: str,
    parse: Callable[[str], _Value],
    blank: str | None = None,
) -> _Value | None:
    """An attribute of the opportunity; a blank one is read as ``blank``, or is a fault."""
    text = opportunity.get(name, "").strip()
    if not text and blank is None:
        faults.add(f"Opportunity/@{name}", "", f"{name} is missing; it is required")
        return None
    return faults.take(f"Opportunity/@{name}", text or blank or "", parse)


def _completed(opportunity: Mapping[str, str], status: Status | None, faults: Faults) -> object:
    if not opportunity.get("dateCompleted", "").strip() and status not in _FINISHED:
        return None
    return _attribute(opportunity, faults, "dateCompleted", moment)


def _grade(
    test: Mapping[str, str], assessment: Assessment, enrolled: Grade | None, faults: Faults
) -> Grade | None:
    """The grade whose cells the result belongs to."""
    written = test.get("grade", "").strip()
    try:
        stated: Grade | None = grade_from(written)
    except InvalidInput:  # a span such as 3-12, or nothing: the assessment says it better
        stated = None
    if stated is not None and stated not in assessment.grades:
        faults.warn(
            "Test/@grade", written, f"the assessment is for grade {assessment.grades[0]}; that grade counts"
        )
    try:
        return assessment.cell_grade(enrolled or stated)
    except InvalidInput as error:
        faults.add("ExamineeAttribute[GradeLevelWhenAssessed]", enrolled or "", str(error))
        return None
