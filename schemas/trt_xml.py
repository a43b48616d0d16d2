"""Reads the XML of an exam report (``TDSReport``) into plain text values, streaming, within limits.

A report comes from outside and is not to be trusted: a document type declaration is refused before anything in it is
read, so there are no entities to expand and nothing to fetch; size, depth and number of elements and attributes are
bounded.

Only what the mapping asks for is ever taken in. Names, birth dates, items and comments pass by: the text of elements
is not even handed to Python, and a ``Score`` that a student writes into an essay is not where scores stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from schemas.errors import InvalidInput

# Examinee attributes and relationships that are read; all others are passed over.
_ATTRIBUTES: Final = frozenset(
    {
        "StudentIdentifier",
        "SSID",
        "GradeLevelWhenAssessed",
        "Grade",
        "Sex",
        "Gender",
        "IDEAIndicator",
        "LEPStatus",
        "EnglishLanguageAcquisitionStatus",
        "Section504Status",
        "EconomicDisadvantageStatus",
        "MigrantStatus",
        "HispanicOrLatinoEthnicity",
        "AmericanIndianOrAlaskaNative",
        "Asian",
        "BlackOrAfricanAmerican",
        "White",
        "NativeHawaiianOrOtherPacificIslander",
        "DemographicRaceTwoOrMoreRaces",
        "Filipino",
    }
)
_RELATIONSHIPS: Final = frozenset(
    {"SchoolId", "SchoolID", "ResponsibleInstitutionIdentifier", "ResponsibleSchoolIdentifier"}
)
_MEASURES: Final = frozenset({"ScaleScore", "PerformanceLevel", "Attempted"})


@dataclass(frozen=True, slots=True)
class XmlLimits:
    """What a document may be. Reports seen have up to 141 kB and 9 levels; the specification allows few more."""

    document_bytes: int = 16 * 1024 * 1024
    depth: int = 32
    elements: int = 50_000
    attributes: int = 500_000
    attribute_characters: int = 65_536  # of one attribute


DEFAULT_LIMITS: Final = XmlLimits()


class UnreadableXml(InvalidInput):
    """The document is not well-formed, or not within the limits."""


@dataclass(slots=True)
class Report:
    """The values of one report, as written. Each section is None when the report does not have it."""

    root: str = ""
    test: Mapping[str, str] | None = None
    examinee: Mapping[str, str] | None = None
    opportunity: Mapping[str, str] | None = None
    repeated: list[str] = field(default_factory=list)  # sections that occur more than once
    final: dict[str, str] = field(default_factory=dict)  # attributes and relationships by name
    initial: dict[str, str] = field(default_factory=dict)
    scores: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)

    def best(self, *names: str) -> str | None:
        """The value of an examinee attribute or relationship under the first of these names that occurs.

        FINAL wins even when it is blank, INITIAL is the fallback. None when no name occurs.
        """
        for name in names:
            value = self.final.get(name)
            if value is None:
                value = self.initial.get(name)
            if value is not None:
                return value
        return None


def read_report(document: bytes, limits: XmlLimits = DEFAULT_LIMITS) -> Report:
    """The values of a document that is XML; whether it is a report at all is for the caller to judge.

    Raises:
        UnreadableXml: it is not well-formed, has a document type declaration, or is not within the limits. The message
            quotes nothing of the document.
    """
    if len(document) > limits.document_bytes:
        raise UnreadableXml(
            f"the document has {len(document)} bytes; at most {limits.document_bytes} are read"
        )
    target = _Target(limits, check_lengths=len(document) > limits.attribute_characters)
    parser = etree.XMLParser(
        target=target,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        etree.fromstring(document, parser)
    except etree.XMLSyntaxError as error:
        raise UnreadableXml(_where(error)) from None
    except (LookupError, ValueError):  # an unknown encoding
        raise UnreadableXml("the document's encoding is not known; send UTF-8") from None
    return target.report


class _Target:
    """Receives the parser's events. It has no ``data``: text is never delivered."""

    def __init__(self, limits: XmlLimits, *, check_lengths: bool) -> None:
        self.report = Report()
        self._limits = limits
        self._check_lengths = check_lengths
        self._depth = 0
        self._elements = 0
        self._attributes = 0
        self._section = ""

    def doctype(self, *_: object) -> None:
        """Called before the declaration's contents are read."""
        raise UnreadableXml("the document has a document type declaration (DOCTYPE); send it without")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth = depth = self._depth + 1
        self._elements += 1
        self._attributes += len(attributes)
        limits = self._limits
        if depth > limits.depth:
            raise UnreadableXml(f"elements are nested more than {limits.depth} deep; a report is not")
        if self._elements > limits.elements or self._attributes > limits.attributes:
            raise UnreadableXml(
                f"the document has more than {limits.elements} elements or {limits.attributes} attributes"
            )
        if self._check_lengths and attributes:
            longest = max(map(len, attributes.values()))
            if longest > limits.attribute_characters:
                raise UnreadableXml(
                    f"an attribute has {longest} characters; at most {limits.attribute_characters} are read"
                )
        if depth == 3:
            self._within_section(tag, attributes)
        elif depth == 2:
            self._section = tag
            self._open_section(tag, attributes)
        elif depth == 1:
            self.report.root = tag

    def end(self, tag: str) -> None:
        self._depth -= 1

    def close(self) -> None:
        """Nothing to build: the report is filled on the way."""

    def _open_section(self, tag: str, attributes: Mapping[str, str]) -> None:
        report = self.report
        if tag == "Test":
            self._repeats(tag, report.test)
            report.test = attributes
        elif tag == "Examinee":
            self._repeats(tag, report.examinee)
            report.examinee = attributes
        elif tag == "Opportunity":
            self._repeats(tag, report.opportunity)
            report.opportunity = attributes

    def _repeats(self, tag: str, earlier: Mapping[str, str] | None) -> None:
        if earlier is not None and tag not in self.report.repeated:
            self.report.repeated.append(tag)

    def _within_section(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._section == "Examinee":
            name = attributes.get("name", "")
            if (
                name in _ATTRIBUTES
                if tag == "ExamineeAttribute"
                else tag == "ExamineeRelationship" and name in _RELATIONSHIPS
            ):
                value = attributes.get("value", "")
                if attributes.get("context") == "FINAL":
                    self.report.final.setdefault(name, value)
                else:
                    self.report.initial[name] = value
        elif self._section == "Opportunity" and tag == "Score":
            label = attributes.get("measureLabel", "")
            if label in _MEASURES:
                self.report.scores[attributes.get("measureOf", "").strip(), label] = attributes


def _where(error: etree.XMLSyntaxError) -> str:
    # The parser's own words may quote the document, an essay with a stray "<" for instance; its kind of fault does not.
    entry = error.error_log.last_error
    kind = str(entry.type_name).removeprefix("ERR_").replace("_", " ").lower() if entry else "no XML"
    line, column = error.position
    return f"the document is not well-formed XML at line {line}, column {column} ({kind}); send it again complete"
