"""What a file of rules may say, and the errors of one, each with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator

from lastaisle.serve.shown.filters import FilterError, read_filter
from lastaisle.serve.shown.masks import Kind
from lastaisle.yaml_file import YamlFile
from lastaisle.yaml_model import Moment, Part, YamlModelError, all_different, place, read_model

MAX_RULES: Final = 100
MAX_PINNED: Final = 100
MAX_PROMOTED: Final = 10_000
NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,39}$"


class RuleError(YamlModelError):
    """A file of rules that cannot be used."""


ItemId = Annotated[str, StringConstraints(min_length=1), WithJsonSchema({"type": ["string", "integer"]})]
Placement = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Pin(Part):
    """Items at a fixed place."""

    items: Annotated[list[ItemId], AfterValidator(all_different)] = Field(
        min_length=1, max_length=MAX_PINNED, description="The ids of the items, in the order of the list."
    )
    position: int = Field(1, ge=1, description="The place of the first item; the others follow it.")


class Promote(Part):
    """Items that get slots of their own."""

    items: Annotated[list[ItemId], AfterValidator(all_different)] | None = Field(
        None, min_length=1, max_length=MAX_PROMOTED, description="The ids of the items."
    )
    filter: str | None = Field(
        None,
        description="The items of which this filter is true, such as category == 'shoes' and price < 50.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Promote:
        if (self.items is None) == (self.filter is None):
            raise ValueError("should hold either items or filter")
        return self


class Rule(Part):
    """One rule: it pins or promotes items, in some placements, for some time."""

    name: Annotated[str, StringConstraints(pattern=NAME)] = Field(
        description="The name, as replies and metrics show it: small letters, digits, - and _."
    )
    pin: Pin | None = Field(None, description="Items at a fixed place.")
    promote: Promote | None = Field(None, description="Items that get a share of the slots.")
    share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="The share of a list's slots that the rule fills. A pin without it shows all its items.",
    )
    placements: Annotated[list[Placement], AfterValidator(all_different)] | None = Field(
        None, min_length=1, max_length=100, description="Where the rule applies; default: everywhere."
    )
    start: Moment | None = Field(None, description="From when on the rule applies; with a zone.")
    end: Moment | None = Field(None, description="Until when the rule applies; with a zone.")

    @model_validator(mode="after")
    def _parts_fit(self) -> Rule:
        if (self.pin is None) == (self.promote is None):
            raise ValueError("should hold either pin or promote")
        if self.promote and self.share is None:
            raise ValueError("share is missing; a promotion needs it, such as share: 0.2")
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"ends at {self.end.isoformat()}, not after its start {self.start.isoformat()}")
        return self

    def applies(self, now: datetime, placement: str) -> bool:
        """Tell whether the rule applies at a moment in a placement."""
        in_time = (self.start is None or self.start <= now) and (self.end is None or now < self.end)
        return in_time and (self.placements is None or placement in self.placements)

    def part_of(self, length: int) -> float:
        """Return the rule's share of the slots of a list, which may be no whole number."""
        return round((self.share or 0.0) * length, 9)

    def has_remainder(self, length: int) -> bool:
        """Tell whether some lists of a length get one slot more than others."""
        return not self.part_of(length).is_integer()


class RuleFile(Part):
    """A file of rules. An earlier rule goes before a later rule."""

    whole: ClassVar[str] = "the key rules with a list of rules; it may be empty"
    rules: list[Rule] = Field(max_length=MAX_RULES, description="The rules.")


def read_rules(path: Path, fields: Mapping[str, Kind] | None = None) -> tuple[Rule, ...]:
    """Read a file of rules, and check it.

    Args:
        path: the YAML file.
        fields: the fields of the catalogue that filters may name; without them no filter is checked.

    Raises:
        RuleError: the file cannot be read, or says something that has no meaning; the error names every such
            place with its line.
    """
    given, file = read_model(path, RuleFile, RuleError)
    rules = tuple(given.rules)
    problems = [*_doubled(rules, file), *_wrong_filters(rules, file, fields)]
    if problems:
        raise RuleError(path, problems)
    return rules


def _doubled(rules: Sequence[Rule], file: YamlFile) -> Iterator[tuple[str, str]]:
    first: dict[str, int] = {}
    for position, rule in enumerate(rules):
        before = first.setdefault(rule.name, position)
        if before != position:
            line = file.line_of(("rules", before, "name"))
            yield (
                place(("rules", position, "name"), file),
                f"{rule.name!r} is the name of the rule in line {line}",
            )


def _wrong_filters(
    rules: Sequence[Rule], file: YamlFile, fields: Mapping[str, Kind] | None
) -> Iterator[tuple[str, str]]:
    for position, rule in enumerate(rules):
        if fields is not None and rule.promote and rule.promote.filter is not None:
            try:
                read_filter(rule.promote.filter, fields)
            except FilterError as error:
                yield place(("rules", position, "promote", "filter"), file), str(error)
