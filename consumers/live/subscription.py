"""What a reader asks for, in the words of the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from schemas.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Subscription:
    """Topics, and filters for all of them; an empty filter lets everything through."""

    topics: tuple[str, ...]
    tests: tuple[str, ...] = ()
    grades: tuple[str, ...] = ()
    years: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        topics: Sequence[str],
        tests: Sequence[str] = (),
        grades: Sequence[str] = (),
        years: Sequence[int] = (),
    ) -> Self:
        """A subscription from whatever lists they are in; the gateway checks what the texts mean.

        Raises:
            InvalidInput: there is no topic, or a list is a single text.
        """
        for name, value in (("topics", topics), ("tests", tests), ("grades", grades)):
            if isinstance(value, str):
                raise InvalidInput(f"{name} is the text '{value[:60]}'; expected a list of texts")
        if not topics:
            raise InvalidInput("no topic is given; expected some, such as 'school/19990010000101'")
        return cls(tuple(topics), tuple(tests), tuple(grades), tuple(years))

    def query(self) -> tuple[tuple[str, str], ...]:
        """The parameters of ``GET /v1/stream``."""
        return (
            *(("topic", topic) for topic in self.topics),
            *(("test", test) for test in self.tests),
            *(("grade", grade) for grade in self.grades),
            *(("year", str(year)) for year in self.years),
        )

    def body(self) -> dict[str, list[str] | list[int]]:
        """The body of ``POST /v1/streams/{id}/subscription``; a filter that lets everything through is left out."""
        lists: dict[str, list[str] | list[int]] = {
            "topics": list(self.topics),
            "tests": list(self.tests),
            "grades": list(self.grades),
            "years": list(self.years),
        }
        return {name: values for name, values in lists.items() if values}

    def same_filters(self, other: Subscription) -> bool:
        """Whether both let the same cells through."""
        return (self.tests, self.grades, self.years) == (other.tests, other.grades, other.years)
