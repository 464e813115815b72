"""Bound the number of series: a label whose values come from outside shows only some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MOST: Final = 50
"""The most values of a label that comes from outside."""
OTHER: Final = "other"
"""The value that stands for all others."""


def first_named(places: Mapping[str, Any], most: int) -> tuple[list[str], list[str]]:
    """Divide names into the first ones and all others.

    Args:
        places: a value by which names are put in order, by name; equal values go by name.
        most: how many names come first.
    """
    ordered = sorted(places, key=lambda name: (places[name], name))
    return ordered[:most], ordered[most:]
