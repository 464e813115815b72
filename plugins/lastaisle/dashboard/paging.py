"""Show long lists in pages, and check what a reader asks for in an address."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from lastaisle.dashboard.choices import ChoiceError, NotThereError

T = TypeVar("T")
MOST_LISTED: Final = 20
"""A refusal names so many of the values that there are."""


@dataclass(frozen=True)
class Paged(Generic[T]):
    """One page of a list.

    Attributes:
        items: the items of the page.
        number: the number of the page, from 1 on.
        pages: the number of pages, at least 1.
        total: the number of all items.
    """

    items: Sequence[T]
    number: int
    pages: int
    total: int


def paged(items: Sequence[T], asked: str, size: int, name: str = "page") -> Paged[T]:
    """Return one page of a list.

    Args:
        items: all items.
        asked: the number of the page, as it stands in the address.
        size: the number of items on a page.
        name: the parameter's name in the address.

    Raises:
        ChoiceError: the number is none.
        NotThereError: there are not so many pages.
    """
    pages = max(1, -(-len(items) // size))
    if not (asked.isascii() and asked.isdigit() and 0 < len(asked) < 10 and int(asked)):
        raise ChoiceError(f"{name} is a number from 1 to {pages}, received {asked[:40]!r}")
    number = int(asked)
    if number > pages:
        raise NotThereError(f"{name} is a number from 1 to {pages}, received {number}")
    return Paged(items[(number - 1) * size : number * size], number, pages, len(items))


def chosen(asked: str, values: Collection[str], name: str) -> str:
    """Return a choice of a reader, if it is one of the values.

    Raises:
        ChoiceError: it is none of them.
    """
    if asked not in values:
        first = [value for value in values if value][:MOST_LISTED]
        more = f" and {len(values) - MOST_LISTED} more" if len(values) > MOST_LISTED else ""
        raise ChoiceError(f"{name} is one of {', '.join(first)}{more}; received {asked[:40]!r}")
    return asked
