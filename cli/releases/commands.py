"""Arguments of ``scores releases``; what the commands do is in the files beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import GatewayAddress, Json
from cli.releases.closing_commands import register
from cli.state import StateFolder
from schemas.errors import InvalidInput

if TYPE_CHECKING:
    from cli.releases.client import ReleasesClient

releases = typer.Typer(
    help="Release states: how far each district's results are on their way to the public.",
    no_args_is_help=True,
)
register(releases)

Token = Annotated[
    str | None,
    typer.Option(envvar="SCORES_TOKEN", help="Default: a development token for all states and districts."),
]
Years = Annotated[list[int] | None, typer.Option("--year", help="School years, by their end: 2026.")]
Districts = Annotated[list[str] | None, typer.Option("--district", help="CDS codes.")]
County = Annotated[str | None, typer.Option("--county", help="CDS code; only this county's districts.")]
Subjects = Annotated[
    list[str] | None, typer.Option("--subject", help="ELA, Math, Science, ELPAC, CSA; several for several.")
]
Reports = Annotated[list[str] | None, typer.Option("--report", help="aggregate or individual.")]


@releases.command()
def show(
    year: Years = None,
    district: Districts = None,
    county: County = None,
    subject: Subjects = None,
    report: Reports = None,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show the states as a table of districts by subjects."""
    from cli.releases.showing import show_releases

    asked = _asked(year, district, subject, report)
    with _client(gateway, token) as client:
        raise typer.Exit(show_releases(client, asked, county=_county(county), as_json=as_json))


@releases.command("set")
def set_(
    year: Annotated[int, typer.Option(help="School year, by its end: 2026.")],
    subject: Annotated[
        list[str],
        typer.Option("--subject", help="ELA, Math, Science, ELPAC, CSA, or all; several for several."),
    ],
    state: Annotated[str, typer.Option(help="loading, reviewing or released.")],
    district: Districts = None,
    all_districts: Annotated[bool, typer.Option("--all-districts", help="All that the token opens.")] = False,
    county: County = None,
    report: Annotated[list[str] | None, typer.Option("--report", help="Default: aggregate.")] = None,
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Change states; what a token may not change is named, with the permission that it lacks.

    Loading and Reviewing are the loader's step (TEST_DATA_LOADING_WRITE), Reviewing and Released the reviewer's
    (TEST_DATA_REVIEWING_WRITE). Exit status 1 when it is accepted, but not applied yet.
    """
    from cli.releases.setting import set_releases
    from cli.releases.showing import in_county
    from gateway.releases.wanted import (
        district_code,
        release_state,
        report_named,
        school_year,
        subject_named,
    )
    from schemas.identifiers import OrganizationId
    from schemas.releases import SUBJECTS, ReleaseKey

    if bool(district) == bool(all_districts or county):
        raise InvalidInput("give either --district CDS, or --all-districts, or --county CDS")
    wanted_state, ends = release_state(state), school_year(str(year))
    subjects = SUBJECTS if "all" in subject else [subject_named(each) for each in subject]
    reports = [report_named(each) for each in report or ["aggregate"]]
    within = _county(county)
    with _client(gateway, token) as client:
        codes = [district_code(code) for code in district or ()]
        if not codes:
            open_ = in_county(client.read({"year": [str(ends)]}).districts, within)
            codes = [OrganizationId(one.id) for one in open_]
        keys = [ReleaseKey(ends, code, each, kind) for kind in reports for each in subjects for code in codes]
        if not keys:
            raise InvalidInput(
                "no district there is open to this token, or the directory has none yet (`scores entities load`)"
            )
        unique = list(dict.fromkeys(keys))
        raise typer.Exit(set_releases(client, unique, wanted_state, as_json=as_json))


@releases.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with school_year,district,subject,report,state.")],
    gateway: GatewayAddress = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Change all states that a file names, or, when it has a fault, none; every fault is named with its line."""
    from cli.releases.setting import import_releases

    with _client(gateway, token) as client:
        raise typer.Exit(import_releases(client, file, as_json=as_json))


@releases.command()
def export(
    year: Years = None,
    district: Districts = None,
    subject: Subjects = None,
    report: Reports = None,
    output: Annotated[Path | None, typer.Option("--output", help="Default: standard output.")] = None,
    gateway: GatewayAddress = None,
    token: Token = None,
) -> None:
    """Write the states as CSV; `scores releases import` takes it back."""
    from cli.releases.showing import export_releases

    with _client(gateway, token) as client:
        raise typer.Exit(export_releases(client, _asked(year, district, subject, report), output))


def _client(gateway: str | None, token: str | None) -> ReleasesClient:
    from cli.releases.client import ReleasesClient
    from cli.tokens import issue_token
    from schemas.access.roles import RELEASE_ROLE
    from schemas.identifiers import STATE

    state = StateFolder()
    url = state.address(gateway, "gateway_url", "--gateway URL")
    bearer = token or issue_token(
        state, subject="releases", roles=[RELEASE_ROLE], organizations=[STATE], minutes=60
    )
    return ReleasesClient(url, bearer)


def _asked(
    years: list[int] | None,
    districts: list[str] | None,
    subjects: list[str] | None,
    reports: list[str] | None,
) -> dict[str, list[str]]:
    from gateway.releases.wanted import district_code, report_named, school_year, subject_named

    return {
        "year": [str(school_year(str(year))) for year in years or ()],
        "district": [district_code(code) for code in districts or ()],
        "subject": [subject_named(name) for name in subjects or ()],
        "report": [report_named(name).value for name in reports or ()],
    }


def _county(code: str | None) -> str | None:
    from schemas.identifiers import OrganizationLevel, level_of, organization_id

    if code is None:
        return None
    county = organization_id(code)
    if level_of(county) is not OrganizationLevel.COUNTY:
        raise InvalidInput(
            f"--county is '{code}', a {level_of(county)}; a county's code ends with twelve zeros"
        )
    return county
