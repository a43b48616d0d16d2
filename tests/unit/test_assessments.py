"""The assessment registry: ids, years, cuts, ranges, claims; what is refused, and what a hit costs."""

from __future__ import annotations

import re

import pytest

from schemas.aggregates import levels_code
from schemas.assessments import Assessment, Claim, Registry, load_registry
from schemas.errors import InvalidInput, RefusedAssessment, UnknownAssessment
from schemas.events import ClaimScore
from schemas.identifiers import Grade

YEARS = range(2008, 2031)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.mark.parametrize(
    ("year", "test", "grade", "cuts", "score_range"),
    [
        (2020, "ELA-SUM", "03", (2367, 2432, 2490), (2114, 2623)),
        (2021, "ELA-SUM", "03", (2367, 2432, 2490), (2115, 2650)),
        (2020, "ELA-SUM", "11", (2493, 2583, 2682), (2299, 2795)),
        (2021, "ELA-SUM", "11", (2493, 2583, 2682), (2300, 2900)),
        (2017, "MATH-SUM", "08", (2504, 2586, 2653), (2265, 2802)),
        (2022, "MATH-SUM", "04", (2411, 2485, 2549), (2205, 2700)),
        (2017, "MATH-ICA", "06", (2473, 2552, 2610), (2235, 2748)),
        (2017, "MATH-IAB-EE", "06", (), (1000, 3500)),
        (2022, "CAST", "05", (179, 214, 231), (150, 250)),
        (2022, "CAST", "11", (576, 615, 636), (550, 650)),
        (2022, "CAA-ELA", "07", (745, 760), (700, 799)),
        (2022, "CAA-MATH", "11", (945, 960), (900, 999)),
        (2022, "CAA-SCIENCE", "08", (), None),
        (2022, "CSA", "05", (546, 560), (500, 599)),
        (2022, "CSA", "09", (950, 960), (900, 999)),
        (2025, "CSA", "09", (), None),  # a new scale, not at hand
        (2018, "ELPAC-SUM", "KG", (1374, 1422, 1474), (1150, 1700)),
        (2021, "ELPAC-SUM", "02", (1424, 1471, 1532), (1150, 1700)),
        (2021, "ELPAC-SUM", "05", (1467, 1514, 1560), (1150, 1800)),
        (2021, "ELPAC-SUM", "08", (1486, 1534, 1590), (1150, 1900)),
        (2021, "ELPAC-SUM", "10", (1493, 1545, 1606), (1150, 1950)),
        (2021, "ELPAC-SUM", "12", (1500, 1555, 1615), (1150, 1950)),
        (2023, "ELPAC-ALT", "04", (544, 560), (501, 599)),
    ],
)
def test_cuts_and_ranges_are_those_of_the_published_tables(
    registry: Registry,
    year: int,
    test: str,
    grade: str,
    cuts: tuple[int, ...],
    score_range: tuple[int, int] | None,
) -> None:
    assessment = registry.at(year, test, Grade(grade))
    assert (assessment.cuts, assessment.score_range) == (cuts, score_range)


@pytest.mark.parametrize(
    ("assessment_id", "school_year", "test", "year", "grades"),
    [
        ("(SBAC)SBAC-SUM-ELA-3-2019-2020-2017", 2017, "ELA-SUM", 2017, "03"),  # the last year, not the first
        ("(SBAC)SBAC-SUM-MATH-11-2019-2020-2019", None, "MATH-SUM", 2019, "11"),
        ("SBAC-SUM-ELA-3-2019-2020", None, "ELA-SUM", 2020, "03"),
        ("(SBAC)SBAC-ICA-FIXED-G4M-COMBINED-2017-Winter-2016-2017", 2016, "MATH-ICA", 2017, "04"),
        ("(SBAC)SBAC-ICA-FIXED-G6E-COMBINED-2017-Winter-2016-2017", 4294967295, "ELA-ICA", 2017, "06"),
        ("(SBAC)SBAC-ICA-FIXED-G7E-ELA-7-COMBINED-2018", 0, "ELA-ICA", 2018, "07"),
        ("(SBAC)SBAC-IAB-FIXED-G4M-G-MATH-4-Winter-2016-2017", 2016, "MATH-IAB-G", 2017, "04"),
        ("(SBAC)SBAC-IAB-FIXED-G6E-LangVocab-ELA-6-Winter-2016-2017", 2016, "ELA-IAB-LANGVOCAB", 2017, "06"),
        ("(SBAC)SBAC-IAB-FIXED-G6M-EE-Winter-2016-2017", 2016, "MATH-IAB-EE", 2017, "06"),
        ("(SBAC)SBAC-FIAB-FIXED-G3M-MultDiv-MATH-3-Winter-2020-2021", None, "MATH-FIAB-MULTDIV", 2021, "03"),
        ("ELPAC-SA-GRADE-KG-Spring-2017-2018", None, "ELPAC-SUM", 2018, "KG"),
        ("ELPAC-SA-GRADE-09-Spring-2017-2018", 2018, "ELPAC-SUM", 2018, "09"),
        ("ELPAC-SA-GRADE-0910-Spring-2020-2021", None, "ELPAC-SUM", 2021, "09 10"),
        ("ELPAC-SA-GRADE-11-12-Spring-2020-2021", None, "ELPAC-SUM", 2021, "11 12"),
        ("CAST-GRADE-HS-Spring-2018-2019", None, "CAST", 2019, "10 11 12"),
        ("CAST-10-2019", None, "CAST", 2019, "10"),
        ("elpac-alt-grade-03-05-spring-2022-2023", None, "ELPAC-ALT", 2023, "03 04 05"),
        ("CST-SCIENCE-GRADE-08-Spring-2015-2016", None, "CST-SCIENCE", 2016, "08"),
        ("STS-RLA-GRADE-02-Spring-2017-2018", None, "STS-RLA", 2018, "02"),
    ],
)
def test_the_id_tells_the_test_and_the_grade_and_its_last_year_is_the_school_year(
    registry: Registry, assessment_id: str, school_year: int | None, test: str, year: int, grades: str
) -> None:
    assessment = registry.resolve(assessment_id, school_year)
    assert (assessment.test, assessment.school_year, " ".join(assessment.grades)) == (test, year, grades)
    assert registry.resolve(assessment_id, school_year) is assessment


def test_an_id_without_a_year_takes_the_school_year_and_needs_one(registry: Registry) -> None:
    assert registry.resolve("SBAC-SUM-ELA-3", 2020).score_range == (2114, 2623)
    assert registry.resolve("SBAC-SUM-ELA-3", 2021).score_range == (2115, 2650)
    for nonsense in (None, 0, 4294967295):
        with pytest.raises(UnknownAssessment, match="carries no year"):
            registry.resolve("SBAC-SUM-ELA-3", nonsense)


@pytest.mark.parametrize(
    "spelling",
    [
        "ELPAC-IA-GRADE-KG-2018-2019",
        "ELPAC-Initial-GRADE-03-2019",
        "Initial ELPAC",
        "ELPAC Initial Assessment 2020",
        "INITIAL-ELPAC-GRADE-01-Spring-2020-2021",
        "(ELPAC)ELPAC_IA_K_2022",
        "ELPACIA-GRADE-02-2021",
        "IELPAC-2021",
        "I-ELPAC-GRADE-05",
        "ELPAC-INI-03-2024",
        "Initial Alternate ELPAC",
        "ELPAC-ALT-IA-GRADE-04-2023",
        "ELPAC-IA-ALT-2023",
        "ELPAC-Alternate-Initial-2023",
    ],
)
def test_the_initial_elpac_is_refused_by_name_in_every_spelling(registry: Registry, spelling: str) -> None:
    with pytest.raises(RefusedAssessment, match="Initial ELPAC is never taken"):
        registry.resolve(spelling, 2024)


@pytest.mark.parametrize(
    ("assessment_id", "last"),
    [
        ("CST-SCIENCE-GRADE-05-Spring-2016-2017", "2015–16"),
        ("CMA-SCIENCE-GRADE-05-Spring-2016-2017", "2015–16"),
        ("CAPA-SCIENCE-GRADE-05-Spring-2016-2017", "2015–16"),
        ("STS-RLA-GRADE-05-Spring-2018-2019", "2017–18"),
    ],
)
def test_a_discontinued_test_is_refused_after_its_last_year(
    registry: Registry, assessment_id: str, last: str
) -> None:
    with pytest.raises(RefusedAssessment, match=f"last given in {last}"):
        registry.resolve(assessment_id)


@pytest.mark.parametrize(
    ("assessment_id", "remedy"),
    [
        ("(SBAC)SBAC-FT-SomeDescription-MATH-7-Fall-2013-2014", "is not the id of any assessment"),
        ("Custom-Subject-ICA-2016-2017", "is not the id of any assessment"),
        ("(SBAC)SBAC-SUM-ELA-9-Spring-2019-2020", "not given in grade 9; it is given in 03, 04"),
        ("CAST-GRADE-05-Spring-2015-2016", "first given in 2018–19, not in 2015–16"),
        ("SBAC-SUM-ELA-٣-2020", "is not the id"),  # a digit, but not one of ours
        ("(SBAC)SBAC-IAB-FIXED-G4M-" + "A" * 61 + "-Winter-2016-2017", "expected 60 at most"),
        ("X" * 251, "no assessment id has over 250"),
        ("", "is not the id"),
    ],
)
def test_an_unknown_assessment_is_named_with_the_remedy(
    registry: Registry, assessment_id: str, remedy: str
) -> None:
    with pytest.raises(UnknownAssessment, match=re.escape(remedy)) as caught:
        registry.resolve(assessment_id)
    assert not isinstance(caught.value, RefusedAssessment)
    assert len(str(caught.value)) < 300


def test_any_block_of_a_family_is_a_test_of_its_own_with_a_canonical_id(registry: Registry) -> None:
    marshmallow = registry.resolve("(SBAC)SBAC-IAB-FIXED-G11E-Perf-Explanatory-Marshmallow-Winter-2016-2017")
    assert marshmallow.test == "ELA-IAB-PERF-EXPLANATORY-MARSHMALLOW"
    assert marshmallow.kind == "IAB"
    assert marshmallow.levels == ("Below Standard", "Near Standard", "Above Standard")
    again = registry.natural_id(marshmallow.test, Grade("11"), 2018)
    assert registry.resolve(again) is registry.at(2018, marshmallow.test, Grade("11"))
    with pytest.raises(UnknownAssessment, match="not a test of the registry"):
        registry.at(2018, "ELA-IAB", Grade("11"))


@pytest.mark.parametrize("year", YEARS)
def test_every_assessment_in_force_is_found_again_by_its_canonical_id(registry: Registry, year: int) -> None:
    for assessment in registry.assessments(year):
        for grade in assessment.grades:
            natural_id = registry.natural_id(assessment.test, grade, year)
            assert registry.resolve(natural_id) is assessment
            assert registry.at(year, assessment.test, grade) is assessment
            assert registry.tests[assessment.test].name == assessment.name


@pytest.mark.parametrize("year", YEARS)
def test_the_tables_of_every_year_are_consistent(registry: Registry, year: int) -> None:
    for assessment in registry.assessments(year):
        assert re.fullmatch(r"[A-Z0-9.-]+", assessment.test)
        assert len(assessment.levels) in (
            {3, 4} if registry.tests[assessment.test].last_year is None else {5}
        )
        assert len(assessment.claims) <= 6
        measures: list[Assessment | Claim] = [assessment, *assessment.claims]
        for measure in measures:
            assert not measure.cuts or len(measure.cuts) == len(measure.levels) - 1
            assert list(measure.cuts) == sorted(set(measure.cuts))
            if measure.score_range:
                lowest, highest = measure.score_range
                assert all(lowest < cut <= highest for cut in measure.cuts)
                assert highest <= 4095


def test_a_past_year_has_the_discontinued_tests_and_not_the_later_ones(registry: Registry) -> None:
    def tests(year: int) -> set[str]:
        return {assessment.test for assessment in registry.assessments(year)}

    assert {"CST-SCIENCE", "CMA-SCIENCE", "CAPA-SCIENCE", "STS-RLA", "ELA-SUM"} <= tests(2016)
    assert not tests(2016) & {"CAST", "CSA", "ELPAC-SUM", "ELPAC-ALT", "CAA-SCIENCE"}
    assert tests(2018) & {"CST-SCIENCE", "STS-RLA", "ELPAC-SUM"} == {"STS-RLA", "ELPAC-SUM"}
    everything = tests(2026)
    assert {"ELA-SUM", "MATH-SUM", "ELA-ICA", "MATH-ICA", "CAA-ELA", "CAA-MATH", "CAA-SCIENCE"} <= everything
    assert {"CAST", "CSA", "ELPAC-SUM", "ELPAC-ALT", "ELA-IAB-LANGVOCAB", "MATH-FIAB-MULTDIV"} <= everything
    assert not everything & {"CST-SCIENCE", "CMA-SCIENCE", "CAPA-SCIENCE", "STS-RLA"}


@pytest.mark.parametrize(
    ("score", "level"), [(2366, 1), (2367, 2), (2431, 2), (2432, 3), (2489, 3), (2490, 4), (2623, 4)]
)
def test_a_score_at_a_cut_has_the_higher_level(registry: Registry, score: int, level: int) -> None:
    assert registry.at(2020, "ELA-SUM", Grade("03")).level_for(score) == level


def test_without_published_cuts_no_level_is_derived(registry: Registry) -> None:
    assert registry.at(2022, "CAA-SCIENCE", Grade("05")).level_for(500) is None


def test_written_language_in_grade_four_was_cut_anew_after_the_first_elpac(registry: Registry) -> None:
    cuts = {
        year: registry.at(year, "ELPAC-SUM", Grade("04")).claim("2").cuts  # type: ignore[union-attr]  # it has one
        for year in (2018, 2019, 2026)
    }
    assert cuts == {2018: (1478, 1535, 1575), 2019: (1478, 1525, 1575), 2026: (1478, 1525, 1575)}


def test_a_code_means_the_claim_of_its_own_subject(registry: Registry) -> None:
    def claim(test: str, code: str) -> str | None:
        found = registry.at(2021, test, Grade("04")).claim(code)
        return found.name if found else None

    assert claim("MATH-SUM", "1") == "Concepts & Procedures"
    assert claim("ELPAC-SUM", "1") == "Oral Language"
    assert claim("ELA-SUM", "1") is None
    assert claim("ELA-SUM", "2-W") == claim("ELPAC-SUM", "2-W") == claim("ELA-SUM", "Writing") == "Writing"


def test_elpac_composites_have_four_levels_and_domains_three(registry: Registry) -> None:
    claims = registry.at(2021, "ELPAC-SUM", Grade("KG")).claims
    assert [(claim.code, len(claim.levels)) for claim in claims] == [
        ("1", 4),
        ("2", 4),
        ("1-L", 3),
        ("1-S", 3),
        ("2-R", 3),
        ("2-W", 3),
    ]


def test_the_grade_of_a_cell_is_the_assessments_own(registry: Registry) -> None:
    third = registry.at(2021, "ELA-SUM", Grade("03"))
    assert third.cell_grade(Grade("04")) == third.cell_grade(None) == "03"


def test_of_a_test_that_spans_grades_the_enrolled_grade_counts(registry: Registry) -> None:
    science = registry.resolve("CAST-GRADE-HS-Spring-2021-2022")
    assert science.cell_grade(Grade("11")) == "11"
    with pytest.raises(InvalidInput, match="CAST spans grades 10 to 12, and the enrolled grade is 09"):
        science.cell_grade(Grade("09"))
    with pytest.raises(InvalidInput, match="no enrolled grade is given"):
        science.cell_grade(None)


@pytest.fixture
def kindergarten(registry: Registry) -> Assessment:
    return registry.at(2021, "ELPAC-SUM", Grade("KG"))


def test_levels_are_the_same_whatever_the_order_of_the_claims(kindergarten: Assessment) -> None:
    claims = [ClaimScore("2-W", 1), ClaimScore("1", 4), ClaimScore("1-L", None), ClaimScore("1-S", 3)]
    expected = levels_code([3, 4, 0, 0, 3, 0, 1])
    assert kindergarten.levels_code(3, claims) == kindergarten.levels_code(3, claims[::-1]) == expected


def test_a_claim_that_the_assessment_does_not_have_is_passed_over(kindergarten: Assessment) -> None:
    assert kindergarten.levels_code(1, [ClaimScore("SOCK_R", 15), ClaimScore("9", 4)]) == 1


@pytest.mark.parametrize(
    ("level", "claims", "message"),
    [
        (5, [], "level 5 is not one of ELPAC-SUM; expected 1 to 4"),
        (0, [], "level 0 is not one of ELPAC-SUM"),
        (1, [ClaimScore("1-L", 4)], "level 4 is not one of claim 1-L of ELPAC-SUM; expected 1 to 3"),
        (1, [ClaimScore("1-L", 0)], "level 0 is not one of claim 1-L"),
        (1, [ClaimScore("1-L", 2), ClaimScore("1-L", 3)], "occurs twice"),
    ],
)
def test_codes_of_impossible_levels_are_refused(
    kindergarten: Assessment, level: int, claims: list[ClaimScore], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        kindergarten.levels_code(level, claims)


def test_the_fifth_level_of_a_discontinued_test_cannot_be_counted(registry: Registry) -> None:
    old = registry.at(2016, "CST-SCIENCE", Grade("05"))
    assert old.levels_code(4, ()) == 4
    with pytest.raises(InvalidInput, match="it has 5, of which 1 to 4 can be counted"):
        old.levels_code(5, ())


def test_ids_from_outside_do_not_fill_the_memory() -> None:
    registry = load_registry()
    for number in range(5000):
        registry.resolve(f"(SBAC)SBAC-IAB-FIXED-G4M-B{number}-Winter-2016-2017")
        registry.resolve(f"SBAC-IAB-FIXED-G4M-B{number}", 2017)
        with pytest.raises(UnknownAssessment):
            registry.resolve(f"nonsense {number}", 2017)
    held = (registry._by_id, registry._by_id_and_year, registry._made)
    assert all(0 < len(memory) <= 4096 for memory in held)
