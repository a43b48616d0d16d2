"""What an endpoint's owner may know of single results and of release states, by the rules of now; reads nothing."""

from __future__ import annotations

from typing import Final

from consumers.webhooks.rules import Rules
from schemas.access.permissions import Permission, Rights
from schemas.aggregate_changes import ResultChange
from schemas.assessments import Registry
from schemas.errors import UnknownAssessment
from schemas.identifiers import OrganizationId, district_of
from schemas.releases import ReleaseState, Report, is_withheld_before_release
from schemas.webhooks.endpoints import Endpoint

# Whoever has one of these at a district may know how far its results have come, as with the gateway's release states.
_KNOWS_RELEASES: Final = (
    Permission.CUSTOM_AGGREGATE_READ,
    Permission.TEST_DATA_LOADING_READ,
    Permission.TEST_DATA_LOADING_WRITE,
    Permission.TEST_DATA_REVIEWING_READ,
    Permission.TEST_DATA_REVIEWING_WRITE,
)


def knows_releases(rights: Rights, district: OrganizationId) -> bool:
    """Whether these rights show how far a district's results have come."""
    return any(rights.covers(permission, district) for permission in _KNOWS_RELEASES)


def may_know_result(rules: Rules, registry: Registry, endpoint: Endpoint, result: ResultChange) -> bool:
    """Whether an endpoint's owner may know of one student's result: by permission, and the state of individual results."""
    rights = rules.rights(endpoint)
    kind = rights.visibility(result.organization)
    if kind is None or not rights.covers(Permission.INDIVIDUAL_PII_READ, result.organization):
        return False
    try:
        assessment = registry.resolve(result.assessment_id, result.school_year)
    except UnknownAssessment:
        return kind.lowest is ReleaseState.LOADING
    if endpoint.tests and assessment.test not in endpoint.tests:
        return False
    if endpoint.grades and not set(endpoint.grades).intersection(assessment.grades):
        return False
    if not is_withheld_before_release(assessment):
        return True
    district = district_of(result.organization)
    state = rules.releases.state(result.school_year, district, assessment.subject, Report.INDIVIDUAL)
    return state >= kind.lowest
