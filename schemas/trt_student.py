"""Who took an exam, as its report says: student, school, enrolled grade and student groups."""

from __future__ import annotations

from typing import Final

from schemas.errors import InvalidInput
from schemas.events import Subgroups
from schemas.identifiers import Grade, OrganizationId, OrganizationLevel, level_of, organization_id
from schemas.trt_faults import Faults
from schemas.trt_values import enrolled_grade, flag
from schemas.trt_xml import Report

_LONGEST_STUDENT: Final = 65
_SEXES: Final = {
    **dict.fromkeys(("female", "f"), "Female"),
    **dict.fromkeys(("male", "m"), "Male"),
    **dict.fromkeys(("nonbinary", "non-binary", "x"), "NonBinary"),
}
_ACQUISITION: Final = frozenset({"EO", "IFEP", "EL", "RFEP", "TBD", "ADEL"})
_ETHNICITIES: Final = (
    "HispanicOrLatinoEthnicity",
    "AmericanIndianOrAlaskaNative",
    "Asian",
    "BlackOrAfricanAmerican",
    "White",
    "NativeHawaiianOrOtherPacificIslander",
    "DemographicRaceTwoOrMoreRaces",
    "Filipino",
)
_NO_GROUPS: Final = Subgroups()


def read_student(report: Report, faults: Faults) -> str | None:
    """The statewide student identifier. A faulty one is not repeated in the fault: it still identifies someone."""
    element = "ExamineeAttribute[StudentIdentifier]"
    student = (report.best("StudentIdentifier", "SSID") or "").strip()
    if not student:
        faults.add(element, "", "the student identifier is missing; every exam belongs to a student")
    elif len(student) > _LONGEST_STUDENT:
        faults.add(
            element,
            "",
            f"the student identifier has {len(student)} characters; at most {_LONGEST_STUDENT} are allowed",
        )
    else:
        return student
    return None


def read_school(report: Report, faults: Faults) -> OrganizationId | None:
    """The school that the result is attributed to. Whether it exists is for the directory to say."""
    element = "ExamineeRelationship[SchoolId]"
    text = (
        report.best("SchoolId", "SchoolID", "ResponsibleInstitutionIdentifier", "ResponsibleSchoolIdentifier")
        or ""
    ).strip()
    if not text:
        faults.add(element, "", "the school is missing; give its 14-digit CDS code")
        return None
    try:
        school = organization_id(text)
    except InvalidInput:
        faults.add(element, text, "not a CDS code; expected 14 digits: county 2, district 5, school 7")
        return None
    if level_of(school) is not OrganizationLevel.SCHOOL:
        faults.add(element, text, f"the code of a {level_of(school)}; results are attributed to schools")
        return None
    return school


def read_enrolled_grade(report: Report, faults: Faults) -> Grade | None:
    """The grade the student was enrolled in when assessed; it may differ from the assessment's."""
    text = (report.best("GradeLevelWhenAssessed", "Grade") or "").strip()
    if not text:
        return None
    element = "ExamineeAttribute[GradeLevelWhenAssessed]"
    grade = faults.take(element, text, enrolled_grade)
    if grade is None and not faults:  # of a report with faults, warnings are not told
        faults.warn(element, text, "not a grade from KG to 12; the enrolled grade is left out")
    return grade


def read_subgroups(report: Report) -> Subgroups | None:
    """The student groups; what is absent or cannot be understood is left out. None when nothing is said."""
    best = report.best
    acquisition = (best("EnglishLanguageAcquisitionStatus") or "").strip().upper()
    groups = Subgroups(
        sex=_SEXES.get((best("Sex", "Gender") or "").strip().lower()),
        ethnicities=tuple(name for name in _ETHNICITIES if flag(best(name))),
        english_acquisition=acquisition if acquisition in _ACQUISITION else None,
        english_learner=flag(best("LEPStatus")),
        disability=flag(best("IDEAIndicator")),
        section_504=flag(best("Section504Status")),
        economic_disadvantage=flag(best("EconomicDisadvantageStatus")),
        migrant=flag(best("MigrantStatus")),
    )
    return None if groups == _NO_GROUPS else groups
