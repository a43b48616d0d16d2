"""What a token's claims grant: roles at organizations and groups, tenancy chains, and nothing that is not of their form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.grant_claims import MOST_GRANTS, claim_of, grants_of
from schemas.access.permissions import Grant, GroupGrant, GroupKind
from schemas.errors import InvalidInput
from schemas.identifiers import STATE, OrganizationId

DISTRICT = OrganizationId("19990010000000")
STATE_CHAIN = "|CA|ASMTDATALOAD|STATE|1000|ART_DL|||CA|CALIFORNIA|||||||||"


def test_claims_that_are_not_there_grant_nothing() -> None:
    assert grants_of(None) == ()
    assert grants_of({}) == ()
    assert grants_of({"grants": []}, "") == ()


def test_a_role_is_granted_for_an_organization_or_a_group() -> None:
    claim = {
        "grants": [
            {"role": "PII", "org": "19-99001-0000000"},
            {"role": "PII", "group": "north"},
            {"role": "Educator, Roster", "group": "reading", "kind": "students"},
        ]
    }
    assert grants_of(claim) == (
        Grant("PII", DISTRICT),
        GroupGrant("PII", "north"),
        GroupGrant("Educator, Roster", "reading", GroupKind.STUDENTS),
    )


@pytest.mark.parametrize("tenancy", [STATE_CHAIN, [STATE_CHAIN]], ids=["one text", "a list"])
def test_tenancy_chains_add_to_the_grants(tenancy: object) -> None:
    claim = {"grants": [{"role": "PII", "org": DISTRICT}]}
    assert grants_of(claim, tenancy) == (Grant("PII", DISTRICT), Grant("ASMTDATALOAD", STATE))


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param([], id="a list"),
        pytest.param("PII", id="a text"),
        pytest.param({"grants": None}, id="no list of grants"),
        pytest.param({"grants": [{"org": DISTRICT}]}, id="no role"),
        pytest.param({"grants": [{"role": "", "org": DISTRICT}]}, id="an empty role"),
        pytest.param({"grants": [{"role": ["PII"], "org": DISTRICT}]}, id="a list of roles"),
        pytest.param({"grants": [{"role": "PII"}]}, id="for nobody"),
        pytest.param({"grants": [{"role": "PII", "org": DISTRICT, "group": "north"}]}, id="for both"),
        pytest.param(
            {"grants": [{"role": "PII", "org": DISTRICT, "kind": "schools"}]}, id="a kind of school"
        ),
        pytest.param({"grants": [{"role": "PII", "org": 19990010000000}]}, id="a number"),
        pytest.param({"grants": [{"role": "PII", "org": "1999"}]}, id="half a code"),
        pytest.param({"grants": [{"role": "PII", "org": ""}]}, id="no code"),
        pytest.param({"grants": [{"role": "PII", "group": ""}]}, id="a group without an id"),
        pytest.param({"grants": [{"role": "PII", "group": "a\nb"}]}, id="a group over two lines"),
        pytest.param({"grants": [{"role": "PII", "group": "north", "kind": "counties"}]}, id="no kind"),
    ],
)
def test_a_claim_of_another_form_is_refused(claim: object) -> None:
    with pytest.raises(InvalidInput):
        grants_of(claim)


@pytest.mark.parametrize(
    "tenancy",
    [7, {}, [7], "PII", [STATE_CHAIN, "PII"], ["|" * 40_000, "|" * 40_000]],
    ids=["a number", "an object", "numbers", "no chain", "one chain of two", "endless"],
)
def test_tenancy_of_another_form_is_refused_with_the_rest(tenancy: object) -> None:
    with pytest.raises(InvalidInput):
        grants_of({"grants": [{"role": "PII", "org": DISTRICT}]}, tenancy)


def test_no_token_has_endless_grants() -> None:
    claim = {"grants": [{"role": "PII", "group": str(number)} for number in range(MOST_GRANTS + 1)]}
    with pytest.raises(InvalidInput, match=str(MOST_GRANTS)):
        grants_of(claim)


names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
codes = st.from_regex(r"[0-9]{14}", fullmatch=True).map(OrganizationId)
grants = st.one_of(
    st.builds(Grant, names, codes), st.builds(GroupGrant, names, names, st.sampled_from([None, *GroupKind]))
)


@given(st.lists(grants, unique=True, max_size=6))
def test_the_claim_of_some_grants_grants_them(granted: list[Grant | GroupGrant]) -> None:
    assert grants_of(claim_of(granted)) == tuple(granted)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["grants", "role", "org", "group"]), inner)
    ),
    max_leaves=8,
)


@given(anything, anything)
def test_any_claim_is_read_or_refused(scores: Any, tenancy: Any) -> None:
    try:
        granted = grants_of(scores, tenancy)
    except InvalidInput:
        return
    assert all(isinstance(grant, Grant | GroupGrant) for grant in granted)
