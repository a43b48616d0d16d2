"""Lists of organizations as they come: the state's entity files, warehouse hierarchies, our own plain files."""

from __future__ import annotations

import pytest

from schemas.errors import InvalidInput
from schemas.events import OrganizationEntry
from schemas.organization_files import missing_parents, read_organizations

HEADER_2024 = "County Code^District Code^School Code^Type ID^Filler^Test Year^County Name^District Name^School Name^Zip Code"
STATE_FILE = f"""{HEADER_2024}
00^00000^0000000^4^^2024^State Of California^^^
99^00000^0000000^5^^2024^Nonesuch^^^
99^12345^0000000^6^^2024^Nonesuch^Cañada Unified^^
99^12345^0000011^7^^2024^Nonesuch^Cañada Unified^Lincoln Elementary^95000
99^12345^0000022^9^^2024^Nonesuch^Free Charter^Free Charter^95000
99^12345^0000033^10^^2024^Nonesuch^Cañada Unified^Local “Star” Charter^95000
""".replace("\n", "\r\n")


def by_code(data: bytes) -> dict[str, OrganizationEntry]:
    return {entry.cds: entry for entry in read_organizations(data, "entities.txt")}


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig"])
def test_the_states_file_is_read_in_windows_1252_and_in_utf_8(encoding: str) -> None:
    entries = by_code(STATE_FILE.encode(encoding))

    assert [(e.cds, e.name, e.kind, e.charter) for e in entries.values()] == [
        ("00000000000000", "State Of California", "state", None),
        ("99000000000000", "Nonesuch", "county", None),
        ("99123450000000", "Cañada Unified", "district", None),
        ("99123450000011", "Lincoln Elementary", "school", None),
        ("99123450000022", "Free Charter", "school", "direct"),
        ("99123450000033", "Local “Star” Charter", "school", "local"),
    ]


def test_columns_are_found_by_name_wherever_they_stand() -> None:
    """Type ID and Filler changed places in 2024; before 2019 the fields had commas between them, and 'Type Id'."""
    older = (
        "County Code,District Code,School Code,Filler,Test Year,Type Id,County Name,District Name,School Name,Zip Code\r\n"
        '99,12345,0000011,,2016,7,Nonesuch,"Unified, of Nonesuch",Lincoln Elementary,95000\r\n'
    )

    assert by_code(older.encode())["99123450000011"].name == "Lincoln Elementary"


def test_the_name_of_a_district_is_never_taken_from_a_direct_funded_charters_line() -> None:
    """There the District Name is the charter's own."""
    entries = by_code(STATE_FILE.encode())

    assert entries["99123450000000"].name == "Cañada Unified"


def test_a_warehouse_hierarchy_gives_districts_and_schools_once_each() -> None:
    hierarchy = (
        "state_id,state_code,state_name,state_type,district_id,district_name,district_type,school_id,school_name,school_type\n"
        "06,CA,California,tiny,99900010000000,Demo District,Tiny,99900010000001,Demo Elementary,Elementary School\n"
        "06,CA,California,tiny,99900010000000,Demo District,Tiny,99900010000002,Demo Middle,Middle School\n"
    )

    assert {cds: (e.name, e.kind) for cds, e in by_code(hierarchy.encode()).items()} == {
        "99900010000000": ("Demo District", "district"),
        "99900010000001": ("Demo Elementary", "school"),
        "99900010000002": ("Demo Middle", "school"),
    }


def test_a_plain_file_may_have_charters_comments_blank_lines_and_hyphens_in_codes() -> None:
    plain = (
        "# our schools\n"
        "cds,name,kind,charter\n"
        "\n"
        "99-12345-0000000,Nonesuch Unified,district,\n"
        "99123450000022,Free Charter,school,direct\n"
    )

    assert {cds: (e.kind, e.charter) for cds, e in by_code(plain.encode()).items()} == {
        "99123450000000": ("district", None),
        "99123450000022": ("school", "direct"),
    }


def test_every_fault_is_told_at_once_with_its_line() -> None:
    faulty = f"""{HEADER_2024}
9^12345^0000011^7^^2024^Nonesuch^Nonesuch Unified^Lincoln Elementary^95000
99^12345^0000012^8^^2024^Nonesuch^Nonesuch Unified^Washington Elementary^95000
99^12345^0000013^6^^2024^Nonesuch^Nonesuch Unified^^95000
99^12345^0000014^7^^2024^Nonesuch^Nonesuch Unified^^95000
99^12345^0000015^7^^2024^Nonesuch^Nonesuch Unified
99^12345^0000016^7^^2024^Nonesuch^Nonesuch Unified^Adams Elementary^95000
99^12345^0000016^7^^2024^Nonesuch^Nonesuch Unified^Jefferson Elementary^95000
"""

    with pytest.raises(InvalidInput) as refusal:
        read_organizations(faulty.encode(), "entities.txt")

    assert str(refusal.value).splitlines() == [
        "entities.txt has 6 faults; nothing was read:",
        "  line 2: County Code is '9'; expected 2 digits (leading zeros count; spreadsheets drop them)",
        "  line 3: Type ID is '8'; expected 4, 5, 6, 7, 9, 10",
        "  line 4: 99123450000013 is the code of a school, but the line describes a district",
        "  line 5: School Name of 99123450000014 has 0 characters; expected 1 to 200",
        "  line 6: 8 fields; the header has 10",
        "  line 8: 99123450000016 is 'Jefferson Elementary' here and 'Adams Elementary' in line 7",
    ]


def test_many_faults_are_counted_not_all_spelled_out() -> None:
    rows = "".join(f"{n},School {n},school\n" for n in range(1, 51))

    with pytest.raises(InvalidInput, match=r"(?s)has 50 faults.*line 21: .*and 30 more") as refusal:
        read_organizations(f"cds,name,kind\n{rows}".encode(), "plain.csv")

    assert "line 22:" not in str(refusal.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "is empty", id="nothing"),
        pytest.param(b"cds,name,kind\n", "no organizations below", id="header only"),
        pytest.param(b"a,b\n1,2\n", "has the columns a, b; expected", id="another table"),
        pytest.param(
            b"cds,name,kind\n99123450000011,\x81,school\n", "is not text: byte 29 is 0x81", id="binary"
        ),
        pytest.param(
            b'cds,name,kind\n99123450000011,"Lincoln,school\n', "quotation mark missing", id="open quotation"
        ),
        pytest.param(
            b"cds,name,kind\n99123450000011,Lincoln,college\n",
            "kind is 'college'; expected school, district, county, state",
            id="unknown kind",
        ),
        *(
            pytest.param(
                line.encode(),
                f"line 2: {code} is in county 97, which is kept for the canary, and that lists its own schools; leave the line out",
                id=f"{form} of the canary's county",
            )
            for form, code, line in (
                ("a school", "97123450000011", "cds,name,kind\n97123450000011,Lincoln,school\n"),
                ("the county", "97000000000000", "cds,name,kind\n97-00000-0000000,Nonesuch,county\n"),
                (
                    "a line of the state",
                    "97123450000011",
                    f"{HEADER_2024}\n97^12345^0000011^7^^2024^Nonesuch^Nonesuch Unified^Lincoln Elementary^95000\n",
                ),
                (
                    "a line of a warehouse",
                    "97123450000000",
                    "district_id,district_name,school_id,school_name\n97123450000000,D,97123450000011,S\n",
                ),
            )
        ),
        pytest.param(
            b"district_id,district_name,school_id,school_name\n99123450000000,D,99123460000011,S\n",
            "school_id 99123460000011 names the district 99123460000000",
            id="a school of another district",
        ),
    ],
)
def test_what_is_no_list_of_organizations_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_organizations(data, "list.csv")

    assert str(refusal.value).startswith("list.csv")
    assert said in str(refusal.value)


def test_districts_that_are_not_listed_are_named_with_their_number_of_schools() -> None:
    plain = (
        "cds,name,kind\n"
        "99123450000000,Nonesuch Unified,district\n"
        "99123450000011,Lincoln,school\n"
        "99555550000011,Adams,school\n"
        "99555550000012,Jefferson,school\n"
    )

    assert missing_parents(by_code(plain.encode())) == [("99555550000000", 2)]
