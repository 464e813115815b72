"""Values of made-up persons; each occurs once, so that a leak names the place where it was planted."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

#: What every value of a kind holds, and nothing else in this repository does.
MARKERS = ("zq7c", "4930555", "4111117", "2001:db8:7ac7:")


@dataclass(frozen=True)
class Plant:
    """A value, and where it was planted."""

    value: str
    place: str


def _digits(number: int, length: int) -> str:
    return f"{number:0{length}d}"


def _card(number: int) -> str:
    """Return a number of a card with its check digit (Luhn)."""
    digits = "4111117" + _digits(number, 8)
    doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(digits)]
    return digits + str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


KINDS: dict[str, Callable[[int], str]] = {
    "id": lambda number: f"zq7c{_digits(number, 6)}",
    "email": lambda number: f"zq7c{_digits(number, 6)}@mail.example",
    "address": lambda number: f"zq7c{_digits(number, 6)} Street 7, 10115 Berlin",
    "phone": lambda number: f"+4930555{_digits(number, 6)}",
    "card": _card,
    "ip": lambda number: f"2001:db8:7ac7::{number:x}",
}
ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "url": lambda value: f"https://shop.example/account?who={quote(value, safe='')}",
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "json": lambda value: json.dumps({"who": [value]}),
}


@dataclass
class Planter:
    """Makes values and remembers where each was planted."""

    plants: dict[str, Plant] = field(default_factory=dict)

    def plant(self, place: str, kind: str = "id", encoding: str = "plain") -> str:
        """Return a new value, encoded; `place` says where it goes."""
        value = KINDS[kind](len(self.plants) + 1)
        self.plants[value] = Plant(value, f"{place} ({kind}{'' if encoding == 'plain' else ', ' + encoding})")
        return ENCODINGS[encoding](value)

    def in_every_field(
        self, form: str, record: dict[str, Any], name: Callable[[Any, str], None]
    ) -> Iterator[Any]:
        """Return copies of a record, each with one value planted in one of its fields, however deep.

        Args:
            form: the format, for the name of the place.
            record: a good record.
            name: gives the copy an identity of its own, so that none is a duplicate.
        """
        for steps in list(leaves(record)):
            for kind in ("email", "phone", "card", "ip"):
                made = copy.deepcopy(record)
                number = len(self.plants)
                name(made, f"{number}")
                put(made, steps, self.plant(f"{form}: {'.'.join(map(str, steps))}", kind))
                yield made


def leaves(record: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the path of each value that is no container."""
    if isinstance(record, dict):
        for key, value in record.items():
            yield from leaves(value, (*before, key))
    elif isinstance(record, list):
        for place, value in enumerate(record):
            yield from leaves(value, (*before, place))
    else:
        yield before


def put(record: Any, steps: tuple[Any, ...], value: Any) -> None:
    """Set the value at a path."""
    for step in steps[:-1]:
        record = record[step]
    record[steps[-1]] = value
