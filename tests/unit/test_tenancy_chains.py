"""Tenancy chains grant what they say, at the level they say, and nothing when they contradict themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tenancy_chains import LONGEST_CHAINS, grants_in
from schemas.access.permissions import Grant, GroupGrant, GroupKind
from schemas.errors import InvalidInput
from schemas.identifiers import STATE, OrganizationId

DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")
STATE_CHAIN = "|CA|ASMTDATALOAD|STATE|1000|ART_DL|||CA|CALIFORNIA|||||||||"


def chain(
    entity: str,
    role: str,
    level: str,
    *,
    client: str = "1000",
    states: str = "",
    state: str = "CA",
    districts: str = "",
    district: str = "",
    schools: str = "",
    school: str = "",
) -> str:
    ids = (client, states, state, districts, district, schools, school)
    named = [part for one in ids for part in (one, "a name" if one else "")]
    return "|" + "|".join([entity, role, level, *named]) + "|"


DISTRICT_CHAIN = chain(DISTRICT, "PII", "DISTRICT", district=DISTRICT)
SCHOOL_CHAIN = chain(SCHOOL, "PII", "INSTITUTION", district=DISTRICT, school=SCHOOL)


@pytest.mark.parametrize(
    ("text", "granted"),
    [
        pytest.param(STATE_CHAIN, Grant("ASMTDATALOAD", STATE), id="the state"),
        pytest.param(
            chain("north", "PII", "GROUP_OF_DISTRICTS", districts="north"),
            GroupGrant("PII", "north", GroupKind.DISTRICTS),
            id="a group of districts",
        ),
        pytest.param(DISTRICT_CHAIN, Grant("PII", DISTRICT), id="a district"),
        pytest.param(
            chain(SCHOOL, "PII", "DISTRICT", district=SCHOOL),
            Grant("PII", SCHOOL),
            id="a charter that is its own district",
        ),
        pytest.param(
            chain("arts", "PII", "GROUP_OF_INSTITUTIONS", district=DISTRICT, schools="arts"),
            GroupGrant("PII", "arts", GroupKind.SCHOOLS),
            id="a group of schools",
        ),
        pytest.param(SCHOOL_CHAIN, Grant("PII", SCHOOL), id="a school"),
        pytest.param(
            chain(DISTRICT, "Educator, District", "DISTRICT", district=DISTRICT),
            Grant("Educator, District", DISTRICT),
            id="a role with a comma in its name",
        ),
    ],
)
def test_a_chain_grants_its_role_at_its_level(text: str, granted: Grant | GroupGrant) -> None:
    assert grants_in(text) == (granted,)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="no chain"),
        pytest.param(" \n", id="blanks"),
        pytest.param("||ASMTDATALOAD|||SBAC|||||||||||||", id="the client, without a level"),
        pytest.param(chain("1000", "PII", "CLIENT", state=""), id="the client"),
        pytest.param(
            chain("west", "PII", "GROUP_OF_STATES", states="west", state=""), id="a group of states"
        ),
        pytest.param(chain("OR", "PII", "STATE", state="OR"), id="another state"),
        pytest.param(
            chain(DISTRICT, "PII", "DISTRICT", state="OR", district=DISTRICT),
            id="another state's district of the same code",
        ),
        pytest.param(
            chain(DISTRICT, "PII", "DISTRICT", state="", district=DISTRICT), id="no state's district"
        ),
    ],
)
def test_what_is_not_of_this_state_grants_nothing(text: str) -> None:
    assert grants_in(text) == ()


def test_several_chains_add_up_and_count_once() -> None:
    assert grants_in(f"{STATE_CHAIN},{DISTRICT_CHAIN},{SCHOOL_CHAIN},{DISTRICT_CHAIN}") == (
        Grant("ASMTDATALOAD", STATE),
        Grant("PII", DISTRICT),
        Grant("PII", SCHOOL),
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param("PII", "PII", id="no pipes"),
        pytest.param("|", "between pipes", id="one pipe"),
        pytest.param("||PII|", "2 fields", id="too short"),
        pytest.param(STATE_CHAIN + "|", "18 fields", id="too long"),
        pytest.param(f"{STATE_CHAIN};{DISTRICT_CHAIN}", "expected 17", id="joined by something else"),
        pytest.param(f"{STATE_CHAIN},", "between pipes", id="a comma too many"),
        pytest.param(chain("CA", "", "STATE"), "role", id="no role"),
        pytest.param(chain("CA", "P" * 201, "STATE"), "role", id="an endless role"),
        pytest.param(chain("CA", "PI\u202eI", "STATE"), "role", id="a role with what nobody sees"),
        pytest.param(chain("CA", "PII", "state"), "'state'", id="a level in small letters"),
        pytest.param(chain("CA", "PII", "COUNTY"), "'COUNTY'", id="a level that there is not"),
        pytest.param(chain("", "PII", "STATE"), "''", id="no entity"),
        pytest.param(chain("CA", "PII", "STATE", state="OR"), "'OR'", id="an entity that is not the state"),
        pytest.param(
            chain(DISTRICT, "PII", "DISTRICT", district="19990020000000"),
            "19990020000000",
            id="an entity that is another district",
        ),
        pytest.param(
            chain("TD000001", "PII", "DISTRICT", district="TD000001"),
            "TD000001",
            id="a district without a code",
        ),
        pytest.param(
            chain(STATE, "PII", "INSTITUTION", school=STATE), "state code", id="the state as a school"
        ),
        pytest.param(
            chain(STATE, "PII", "DISTRICT", district=STATE), "state code", id="the state as a district"
        ),
        pytest.param(
            chain("19000000000000", "PII", "DISTRICT", district="19000000000000"),
            "county code",
            id="a county as a district",
        ),
        pytest.param(
            chain(DISTRICT, "PII", "INSTITUTION", school=DISTRICT),
            "district code",
            id="a district as a school",
        ),
        pytest.param("|" + "x" * LONGEST_CHAINS + "|", str(LONGEST_CHAINS), id="endless"),
    ],
)
def test_a_chain_that_contradicts_itself_is_refused_with_all_others(text: str, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        grants_in(text)
    if len(text) < 1_000:
        with pytest.raises(InvalidInput):
            grants_in(f"{DISTRICT_CHAIN},{text}")


@given(st.text(alphabet="|,CASTE 0123456789\u202e\n", max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        grants = grants_in(text)
    except InvalidInput:
        return
    assert all(isinstance(grant, Grant | GroupGrant) for grant in grants)


fields = st.lists(
    st.sampled_from(["", "CA", "OR", "PII", "STATE", "DISTRICT", "INSTITUTION", STATE, DISTRICT, SCHOOL]),
    min_size=17,
    max_size=17,
)


@given(fields)
def test_only_the_state_level_of_this_state_opens_the_state(parts: list[str]) -> None:
    try:
        grants = grants_in("|" + "|".join(parts) + "|")
    except InvalidInput:
        return
    if any(isinstance(grant, Grant) and grant.organization == STATE for grant in grants):
        assert (parts[0], parts[2], parts[7]) == ("CA", "STATE", "CA")
