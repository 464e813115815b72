"""The context of a list as one text, and as the numbers that a linear policy reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lastaisle.feedback.origin import context_value

#: The values of a column that a policy tells apart; its rarer values count as one value.
MOST_LEVELS: Final = 12
UNKNOWN: Final = ""
OTHER: Final = "*"

Levels = Sequence[Sequence[str]]


def context_text(columns: Sequence[str], context: Mapping[str, Any]) -> str:
    """Return the values of columns as one text, as the id of a list carries it: `mobile.DE`.

    A value keeps its first 16 letters, digits, `_` and `-`. An unknown value is empty.
    """
    return ".".join(context_value(context.get(name)) for name in columns)


def levels_of(texts: Mapping[str, int], columns: int) -> tuple[tuple[str, ...], ...]:
    """Return the values of each column that a policy tells apart, the most frequent ones.

    Args:
        texts: each context and the number of its lists.
        columns: the number of columns.
    """
    levels = []
    for column in range(columns):
        counts: dict[str, int] = {}
        for text, count in texts.items():
            value = _values(text, columns)[column]
            counts[value] = counts.get(value, 0) + count
        counts.pop(UNKNOWN, None)
        frequent = sorted(counts, key=lambda value: (-counts[value], value))[:MOST_LEVELS]
        levels.append(tuple(sorted(frequent)))
    return tuple(levels)


def cell_of(text: str, levels: Levels) -> str:
    """Return the context as a policy reads it: a value that is no level is `*`, an unknown value is empty."""
    values = zip(_values(text, len(levels)), levels, strict=True)
    return ".".join(value if value == UNKNOWN or value in known else OTHER for value, known in values)


def features_of(cells: Iterable[str], levels: Levels) -> NDArray[np.float64]:
    """Return for each cell 1, and for each column a 1 at the value's place.

    Returns:
        Shape (cells, 1 + the sum of the levels of each column + 2).
    """
    places = [{value: at for at, value in enumerate((*known, UNKNOWN, OTHER))} for known in levels]
    rows = []
    for cell in cells:
        row = [1.0]
        for value, known in zip(_values(cell, len(levels)), places, strict=True):
            row += [float(at == known[value]) for at in range(len(known))]
        rows.append(row)
    return np.array(rows)


def _values(text: str, columns: int) -> list[str]:
    """Return the value of each column; all are unknown if the text has another number of columns."""
    values = text.split(".")
    return values if len(values) == columns else [UNKNOWN] * columns
