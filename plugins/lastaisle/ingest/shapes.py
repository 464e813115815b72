"""The shape of quarantined rows: the names and the kinds of their fields, never a value.

A payload may hold personal data, also in the name of a field, such as an address where a name belongs. So a
name is shown only if a contract knows it, or if it reads like a name and several payloads have it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from data_contracts.contract import load_contract
from lastaisle.lake.tables import EXPOSURES, ITEMS, RAW_EVENTS

SEVERAL: Final = 5
"""A name that no contract knows is shown if so many payloads have it."""
OTHER: Final = "another field"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,39}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")
_NUMBER: Final = re.compile(r"[+-]?\d+([.,]\d+)?")
_MOST_CHARACTERS: Final = 100_000
_DEPTH: Final = 3
_NESTED: Final = ("consent", "analytics", "personalization")  # the spelling of the logs


@dataclass(frozen=True)
class Shape:
    """A shape that some payloads have.

    Attributes:
        text: the fields with their kinds, such as "{event_id: text, price: number}".
        rows: how many payloads have it.
    """

    text: str
    rows: int


def shapes_of(payloads: Sequence[str | None]) -> list[Shape]:
    """Return the shapes of some payloads, the most frequent first."""
    parsed = [_parsed(payload) for payload in payloads]
    having = Counter(name for one in parsed for name in {*_names(one)})
    known = _known()

    def is_shown(name: str) -> bool:
        return name in known or (having[name] >= SEVERAL and _NAME.fullmatch(name) is not None)

    counted = Counter(_shape(one, is_shown) for one in parsed)
    return [Shape(text, rows) for text, rows in counted.most_common()]


class _Unreadable(str):
    """Says why a payload has no fields."""

    __slots__ = ()


def _parsed(payload: str | None) -> Any:
    if payload is None:
        return _Unreadable("no payload")
    if len(payload) > _MOST_CHARACTERS:
        return _Unreadable(f"more than {_MOST_CHARACTERS:,} characters")
    try:
        return json.loads(payload)
    except RecursionError:
        return _Unreadable("JSON that is nested too deep")
    except ValueError:
        cut = payload.lstrip().startswith("{") and not payload.rstrip().endswith("}")
        return _Unreadable("JSON that is cut off" if cut else "text that is no JSON")


@cache
def _known() -> frozenset[str]:
    names = {field.name for table in (RAW_EVENTS, EXPOSURES, ITEMS) for field in load_contract(table).fields}
    return frozenset({*names, *_NESTED})


def _names(value: Any, depth: int = _DEPTH) -> Iterator[str]:
    if isinstance(value, dict) and depth:
        for name, inner in value.items():
            yield name
            yield from _names(inner, depth - 1)


def _shape(value: Any, is_shown: Callable[[str], bool], depth: int = _DEPTH) -> str:
    if not isinstance(value, dict):
        return _kind(value)
    if not depth:
        return "object"
    fields = [
        (name if is_shown(name) else OTHER, _shape(inner, is_shown, depth - 1))
        for name, inner in value.items()
    ]
    return "{" + ", ".join(f"{name}: {kind}" for name, kind in sorted(fields)) + "}"


def _kind(value: Any) -> str:
    """Name the kind of a value that is no object."""
    if isinstance(value, _Unreadable):
        return str(value)
    if isinstance(value, str):
        return _kind_of_text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list):
        return "list" if value else "empty list"
    return "negative number" if value < 0 else "number"


def _kind_of_text(value: str) -> str:
    if not value.strip():
        return "empty text"
    if _TIME.fullmatch(value):
        return "time"
    return "number as text" if _NUMBER.fullmatch(value) else "text"
