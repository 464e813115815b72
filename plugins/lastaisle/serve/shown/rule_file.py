"""What a file of rules may say, and the errors of one, each with its line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.serve.shown.filters import FilterError, read_filter
from lastaisle.serve.shown.masks import Kind
from lastaisle.yaml_file import Steps, YamlFile, YamlFileError, read_yaml

MAX_RULES: Final = 100
MAX_PINNED: Final = 100
MAX_PROMOTED: Final = 10_000
NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,39}$"
_KINDS: Final = {
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "list_type": "a list",
    "string_type": "a text",
}
_EXAMPLE: Final = "2026-12-01T00:00:00+01:00"


class RuleError(LastaisleError):
    """A file of rules that cannot be used.

    Attributes:
        path: the YAML file.
        problems: every place in the file that is wrong, with the reason.
    """

    exit_code = ExitCode.WRONG_REQUEST

    def __init__(self, path: Path, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{path}: {where}: {reason}" for where, reason in problems))
        self.path = path
        self.problems = tuple(problems)

    @property
    def is_unreadable(self) -> bool:
        """Whether the file cannot be read at all, whatever it holds."""
        return self.__cause__ is not None and isinstance(self.__cause__.__cause__, OSError)


def _moment(text: Any) -> datetime:
    if isinstance(text, datetime):
        return text
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"should be a time such as {_EXAMPLE}, received {str(text)[:40]!r}") from None
    if moment.tzinfo is None:
        raise ValueError(f"should name its zone, such as {_EXAMPLE}; received {text!r}")
    return moment


def _all_different(texts: list[str]) -> list[str]:
    twice = (
        next((text for text in texts if texts.count(text) > 1), None)
        if len(set(texts)) < len(texts)
        else None
    )
    if twice is not None:
        raise ValueError(f"{twice!r} stands twice")
    return texts


Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
ItemId = Annotated[str, StringConstraints(min_length=1), WithJsonSchema({"type": ["string", "integer"]})]
Placement = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Pin(_Part):
    """Items at a fixed place."""

    items: Annotated[list[ItemId], AfterValidator(_all_different)] = Field(
        min_length=1, max_length=MAX_PINNED, description="The ids of the items, in the order of the list."
    )
    position: int = Field(1, ge=1, description="The place of the first item; the others follow it.")


class Promote(_Part):
    """Items that get slots of their own."""

    items: Annotated[list[ItemId], AfterValidator(_all_different)] | None = Field(
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


class Rule(_Part):
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
    placements: Annotated[list[Placement], AfterValidator(_all_different)] | None = Field(
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


class RuleFile(_Part):
    """A file of rules. An earlier rule goes before a later rule."""

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
    try:
        file = read_yaml(path)
    except YamlFileError as error:
        raise RuleError(path, [(error.where, error.reason)]) from error
    if not isinstance(file.content, dict):
        raise RuleError(
            path, [("document", "should hold the key rules with a list of rules; it may be empty")]
        )
    try:
        rules = tuple(RuleFile.model_validate(file.content).rules)
    except ValidationError as error:
        raise RuleError(path, list(_told(error, file))) from error
    problems = [*_doubled(rules, file), *_wrong_filters(rules, file, fields)]
    if problems:
        raise RuleError(path, problems)
    return rules


@cache
def json_schema() -> str:
    """Return the JSON Schema of a file of rules, as text."""
    schema = RuleFile.model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2) + "\n"


def _doubled(rules: Sequence[Rule], file: YamlFile) -> Iterator[tuple[str, str]]:
    first: dict[str, int] = {}
    for position, rule in enumerate(rules):
        before = first.setdefault(rule.name, position)
        if before != position:
            line = file.line_of(("rules", before, "name"))
            yield (
                _place(("rules", position, "name"), file),
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
                yield _place(("rules", position, "promote", "filter"), file), str(error)


def _told(error: ValidationError, file: YamlFile) -> Iterator[tuple[str, str]]:
    """Yield the place and the reason of each problem that pydantic found."""
    for problem in error.errors(include_url=False):
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"][:-1])
            close = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
            hint = f"do you mean {close[0]}?" if close else f"the keys are {', '.join(known)}"
            reason = f"there is no such key; {hint}"
        elif problem["type"] in _KINDS:
            reason = f"should hold {_KINDS[problem['type']]}"
        elif problem["type"] == "missing":
            reason = "is missing"
        elif not isinstance(problem["input"], dict | list) and problem["type"] != "value_error":
            reason = f"{reason}, received {str(problem['input'])[:60]!r}"
        yield _place(problem["loc"], file), reason


def _known_keys(steps: Steps) -> list[str]:
    """Return the keys that a part of the file may have."""
    parts: Mapping[int, type[BaseModel]] = {0: RuleFile, 2: Rule}
    part = parts.get(len(steps)) or (Pin if steps[-1] == "pin" else Promote)
    return list(part.model_fields)


def _place(steps: Steps, file: YamlFile) -> str:
    return f"line {file.line_of(steps)}: {'.'.join(map(str, steps)) or 'document'}"
