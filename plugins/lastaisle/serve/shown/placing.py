"""Places pins and promotions in a ranked list.

Nothing is placed that is not for sale, that the request excludes or filters out, or that the list has.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice, zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lastaisle.serve.shown.rule_file import Rule
from lastaisle.serve.shown.view import ShelfView
from models.checkout_model import best_of


class Ranked(NamedTuple):
    """An item of a list.

    Attributes:
        id: the item.
        score: the model's score; None for an item that the model does not know.
        reason: why the item is in the list: "model", "popular", or "rule:" and the name of the rule.
    """

    id: str
    score: float | None
    reason: str


@dataclass(frozen=True)
class Request:
    """What rules need to know of a request.

    Attributes:
        view: what the model may show now.
        scores: float32 [size], the model's scores; -inf for each item that the request may not get.
        k: the length of the list.
        now: the moment, with a zone.
        placement: where the list is shown.
        excluded: the ids that the request may not get, also those that the model does not know.
        filter: the request's filter; None without one.
        seed: decides in which lists a part of a slot becomes a slot. The same seed gives the same list.
    """

    view: ShelfView
    scores: NDArray[np.float32]
    k: int
    now: datetime
    placement: str
    excluded: AbstractSet[str]
    filter: str | None
    seed: str

    def may_show(self, item: str, row: int) -> bool:
        """Tell whether an item may be shown that the model does not know.

        Args:
            item: an item that is for sale.
            row: its row in the catalogue.
        """
        fits = self.filter is None or bool(self.view.row_mask(self.filter)[row])
        return fits and item not in self.excluded


@dataclass(frozen=True)
class PreparedRule:
    """A rule beside a view.

    Attributes:
        rule: the rule.
        rows: the model's rows of the rule's items.
        new: the ids and the catalogue's rows of its items that only the catalogue knows and has for sale.
    """

    rule: Rule
    rows: NDArray[np.intp]
    new: dict[str, int]

    def pinned(self, request: Request) -> Iterator[Ranked]:
        """Yield the items that the request may get, in the order of the rule."""
        index = request.view.index
        for item in self.rule.pin.items if self.rule.pin else ():
            row = index.get(item)
            if row is not None and np.isfinite(request.scores[row]):
                yield Ranked(item, float(request.scores[row]), self._reason)
            elif item in self.new and request.may_show(item, self.new[item]):
                yield Ranked(item, None, self._reason)

    def promoted(self, request: Request, most: int) -> Iterator[Ranked]:
        """Yield the items that the request may get: the best that the model knows, then the others.

        Args:
            request: the request.
            most: how many items that the model knows.
        """
        scores = request.scores[self.rows]
        for position in best_of(scores, most) if len(scores) and most else ():
            item = str(request.view.items[self.rows[position]])
            yield Ranked(item, float(scores[position]), self._reason)
        for item, row in self.new.items():
            if request.may_show(item, row):
                yield Ranked(item, None, self._reason)

    def slots(self, length: int, seed: str) -> int:
        """Return how many slots of a list the rule gets: its share.

        Where that is no whole number, some lists get one slot more, so that all lists together get the share.
        """
        given = f"{self.rule.name}\0{seed}".encode("utf-8", "surrogatepass")
        chance = int.from_bytes(hashlib.blake2b(given, digest_size=8).digest(), "big") / 2**64
        return math.floor(self.rule.part_of(length) + chance)

    @property
    def _reason(self) -> str:
        return f"rule:{self.rule.name}"


def place(rules: Sequence[PreparedRule], ranked: Sequence[Ranked], request: Request) -> list[Ranked]:
    """Return the list of at most k items with the pins and promotions of some rules.

    Args:
        rules: the rules that apply; an earlier rule goes before a later rule.
        ranked: the best items that the request may get, best first; at least k, if there are so many.
        request: the request.
    """
    length = min(request.k, len(ranked))
    pins = _place_pins(rules, request, length)
    pinned = {item.id for item in pins.values()}
    natural = [item for item in ranked if item.id not in pinned]
    left = request.k - len(pins)
    promotions = [entry for entry in rules if entry.rule.promote is not None]
    counts: list[int] = []
    for entry in promotions:
        counts.append(min(entry.slots(length, request.seed), left - sum(counts)))
    kept = {item.id for item in natural[: left - sum(counts)]}
    picks = _pick(promotions, counts, request, pinned | kept)
    picked = {item.id for item in picks}
    shown = [item for item in natural if item.id not in picked][: left - len(picks)]
    length = len(shown) + len(picks)
    for number, item in enumerate(picks):
        shown.insert(int((number + 0.5) * length / len(picks)), item)
    for position in sorted(pins):
        shown.insert(position - 1, pins[position])
    return shown


def _place_pins(rules: Sequence[PreparedRule], request: Request, length: int) -> dict[int, Ranked]:
    """Return the pinned items by their places, from 1. After a taken place comes the next free place."""
    pins: dict[int, Ranked] = {}
    for entry in rules:
        if entry.rule.pin is None:
            continue
        position, shown = entry.rule.pin.position, {item.id for item in pins.values()}
        items = (item for item in entry.pinned(request) if item.id not in shown)
        most = None if entry.rule.share is None else entry.slots(length, request.seed)
        for item in islice(items, most):
            while position in pins:
                position += 1
            if position > request.k:
                break
            pins[position] = item
    return pins


def _pick(
    promotions: Sequence[PreparedRule], counts: Sequence[int], request: Request, shown: set[str]
) -> list[Ranked]:
    """Return the promoted items of all rules in turn: of each rule its best items that are not shown yet."""
    found: list[list[Ranked]] = []
    for entry, count in zip(promotions, counts, strict=True):
        lacking = (item for item in entry.promoted(request, count + len(shown)) if item.id not in shown)
        found.append(list(islice(lacking, count)))
        shown |= {item.id for item in found[-1]}
    return [item for item in chain.from_iterable(zip_longest(*found)) if item is not None]
