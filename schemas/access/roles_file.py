"""The file that says which roles and groups a deployment has.

built_in_roles = true                        # false drops the known roles; they are schemas/access/known_roles.py

[roles]                                      # a role of a known name replaces it
"County Data Steward" = ["CUSTOM_AGGREGATE_READ", "INDIVIDUAL_PII_READ"]

[levels]                                     # where a role may be granted; without an entry, anywhere
"County Data Steward" = ["county"]

[groups.districts]
"northern-consortium" = ["19990010000000", "19990020000000"]
[groups.schools]
"dual-immersion" = ["19990010000101"]
[groups.students]                            # and the school, or schools, that they attend
"grade-4-reading" = ["19990010000101"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from schemas.access.known_roles import ROLE_LEVELS, ROLE_PERMISSIONS
from schemas.access.names import plain_name
from schemas.access.permissions import GroupKind, Permission
from schemas.access.roles import Group, Roles
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, OrganizationLevel, level_of, organization_id

_MEMBER_LEVEL: Final = {
    GroupKind.DISTRICTS: OrganizationLevel.DISTRICT,
    GroupKind.SCHOOLS: OrganizationLevel.SCHOOL,
    GroupKind.STUDENTS: OrganizationLevel.SCHOOL,
}

_Named = TypeVar("_Named", bound=StrEnum)


class _RolesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    built_in_roles: bool = True
    roles: dict[str, list[str]] = {}
    levels: dict[str, list[str]] = {}
    groups: dict[GroupKind, dict[str, list[str]]] = {}


def read_roles(path: Path) -> Roles:
    """The roles and groups of a file.

    Raises:
        InvalidInput: it cannot be read, or something in it is wrong; all faults at once.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise InvalidInput(
            f"SCORES_ROLES_FILE '{path}' cannot be read ({error}); name a TOML file, or unset it to use the known roles"
        ) from error
    try:
        return parse_roles(content)
    except InvalidInput as error:
        raise InvalidInput(f"SCORES_ROLES_FILE '{path}' is not as expected:\n{error}") from error


def parse_roles(text: str) -> Roles:
    """The roles and groups of a file's text.

    Raises:
        InvalidInput: something in it is wrong; all faults at once, one a line.
    """
    try:
        file = msgspec.convert(tomllib.loads(text), _RolesFile)
    except tomllib.TOMLDecodeError as error:
        # A name that is there twice is found here: TOML knows no second value of a key.
        raise InvalidInput(f"it is not TOML: {error}; a name may be there once only") from None
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"{error}; expected built_in_roles and the tables roles, levels and groups.districts, .schools and .students"
        ) from None
    reading = _Reading()
    permissions = {role: reading.permissions(role, named) for role, named in reading.distinct_roles(file)}
    known = {**ROLE_PERMISSIONS, **permissions} if file.built_in_roles else permissions
    given_levels = {role: reading.levels(role, named, known) for role, named in file.levels.items()}
    # A known role that is replaced keeps its levels unless others are given: by omission nothing is granted more widely.
    levels = {role: held for role, held in {**ROLE_LEVELS, **given_levels}.items() if role in known}
    groups = dict(reading.groups(file.groups))
    if reading.problems:
        raise InvalidInput("\n".join(reading.problems))
    return Roles(known, levels, groups)


class _Reading:
    """One reading of a file, which collects what is wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def distinct_roles(self, file: _RolesFile) -> Iterator[tuple[str, Sequence[str]]]:
        # Two names that look alike would be two roles, and one of them the one that nobody ever is granted.
        known = ROLE_PERMISSIONS if file.built_in_roles else ()
        seen = {_folded(role): role for role in known}
        for role, named in file.roles.items():
            other = seen.setdefault(_folded(role), role)
            if other != role:
                self.problems.append(f"the role '{role}' is there twice, also as '{other}'; keep one")
            self._check_name(role, "role")
            yield role, named

    def permissions(self, role: str, named: Sequence[str]) -> frozenset[Permission]:
        return frozenset(self._each(Permission, named, f"the role '{role}'", "a permission"))

    def levels(self, role: str, named: Sequence[str], known: Collection[str]) -> frozenset[OrganizationLevel]:
        if role not in known:
            self.problems.append(
                f"levels are given for '{role}', which is not a role; define it under [roles]"
            )
        if not named:
            self.problems.append(f"the role '{role}' may be granted at no level; name some, or leave it out")
        return frozenset(self._each(OrganizationLevel, named, f"the role '{role}'", "a level"))

    def groups(self, tables: Mapping[GroupKind, Mapping[str, Sequence[str]]]) -> Iterator[tuple[str, Group]]:
        kinds: dict[str, GroupKind] = {}
        for kind, table in tables.items():
            for name, members in table.items():
                other = kinds.setdefault(name, kind)
                if other is not kind:
                    self.problems.append(
                        f"the group '{name}' is one of {other} and one of {kind}; give each an id of its own"
                    )
                self._check_name(name, "group")
                yield name, Group(kind, frozenset(self._members(name, kind, members)))

    def _members(self, group: str, kind: GroupKind, members: Sequence[str]) -> Iterator[OrganizationId]:
        wanted = _MEMBER_LEVEL[kind]
        for member in self._once(members, f"the group '{group}'"):
            try:
                organization = organization_id(member)
            except InvalidInput as error:
                self.problems.append(f"the group '{group}': {error}")
                continue
            if level_of(organization) is not wanted:
                self.problems.append(
                    f"the group '{group}' of {kind} has the {level_of(organization)} {organization}; "
                    f"expected codes of {wanted}s"
                )
            yield organization

    def _each(self, names: type[_Named], named: Sequence[str], whose: str, what: str) -> Iterator[_Named]:
        for name in self._once(named, whose):
            try:
                yield names(name)
            except ValueError:
                self.problems.append(
                    f"{whose} has '{name[:40]}', which is not {what}; expected one of {', '.join(names)}"
                )

    def _once(self, named: Sequence[str], whose: str) -> Iterator[str]:
        seen: set[str] = set()
        for name in named:
            if name in seen:
                self.problems.append(f"{whose} has '{name[:40]}' twice; keep one")
            else:
                seen.add(name)
                yield name

    def _check_name(self, name: str, what: str) -> None:
        try:
            plain_name(name, what)
        except InvalidInput as error:
            self.problems.append(str(error))


def _folded(role: str) -> str:
    return " ".join(role.split()).casefold()
