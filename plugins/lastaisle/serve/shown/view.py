"""What a model may show now: the catalogue of one moment, beside the items of one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache, partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lastaisle.serve.shown.filters import Filter, FilterError, read_filter
from lastaisle.serve.shown.masks import Kind, Mask, fields_of

HIDDEN: Final = ("removed", "batch_id")  # columns of the table that say nothing about an item
CHUNK: Final = 20_000  # ids that Arrow takes from Python at once: more would hold Python's lock for long
MASKS: Final = 64  # filters whose masks are kept, a byte an item
NO_CATALOGUE: Final = "there is no catalogue whose fields a filter could name"
PENALTIES: Final = 16  # filters whose penalties are kept, four bytes an item


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The items that are for sale at one moment.

    Attributes:
        items: the rows of the table `items`, one row an item; items that are sold out are among them.
        at: the moment.
        until: the next moment at which the rows that are known already change the items; None if they never
            do.
    """

    items: pa.Table
    at: datetime
    until: datetime | None

    @cached_property
    def fields(self) -> dict[str, Kind]:
        """The fields that filters may name, with the kind of their values."""
        return fields_of(self.items.schema)

    @cached_property
    def available(self) -> Mask:
        """Which rows are for sale: bool [rows]. An item is, unless the catalogue calls it unavailable."""
        mask: Mask = pc.fill_null(self.items["available"], True).to_numpy()
        return mask

    @cached_property
    def ids(self) -> pa.Array:
        """The id of each row."""
        return self.items["item_id"].combine_chunks()

    def filter(self, text: str) -> Filter:
        """Read a filter.

        Raises:
            FilterError: the text is no filter over these items.
        """
        return read_filter(text, self.fields)


class ShelfView:
    """What one model may show, as of one snapshot of the catalogue.

    Args:
        items: object [size], the item of each row of the model's scores; row 0 is no item.
        index: the row of each item of the model.
        snapshot: the catalogue; None if there is none.

    Attributes:
        items: object [size], as given.
        index: the row of each item of the model.
        snapshot: the catalogue; None if there is none.
        allowed: bool [size], which of the model's items may be shown: those that the catalogue lists and does
            not call unavailable. None without a catalogue.
    """

    def __init__(
        self, items: NDArray[np.object_], index: Mapping[str, int], snapshot: Snapshot | None
    ) -> None:
        self.snapshot = snapshot
        self.items = items
        self.index = index
        self.allowed: Mask | None = None
        self._unlisted: NDArray[np.float32] | None = None
        self._positions = np.full(len(items), -1, np.int32)
        self._row_mask: Callable[[str], Mask] = lru_cache(MASKS)(partial(_row_mask, snapshot))
        self._mask: Callable[[str], Mask] = lru_cache(MASKS)(
            partial(_model_mask, self._row_mask, self._positions)
        )
        if snapshot is not None:
            self._positions[1:] = _positions(items[1:], snapshot.ids)
            self.allowed = _of_model(snapshot.available, self._positions)
            self._unlisted = _penalties(self.allowed)
            filtered = partial(_filtered, self._mask, self.allowed)
            self._filtered: Callable[[str], NDArray[np.float32]] = lru_cache(PENALTIES)(filtered)
            self._find: Callable[[str], int] = lru_cache(4096)(partial(_find, snapshot.ids))

    def mask(self, expression: str) -> Mask:
        """Return of which of the model's items a filter is true: bool [size], not to be changed.

        Raises:
            FilterError: the text is no filter, or there is no catalogue.
        """
        return self._mask(expression)

    def row_mask(self, expression: str) -> Mask:
        """Return of which rows of the catalogue a filter is true, as `mask` does for the model's items."""
        return self._row_mask(expression)

    def penalties(self, expression: str | None = None) -> NDArray[np.float32] | None:
        """Return what is added to the model's scores for a request: -inf for items that it may not get.

        A sum takes a small part of the time that a copy under a mask takes.

        Args:
            expression: the request's filter; None without one.

        Returns:
            float32 [size], 0 or -inf, not to be changed. None if all items may be shown, since there is no
            catalogue.

        Raises:
            FilterError: the text is no filter, or there is no catalogue.
        """
        if expression is None:
            return self._unlisted
        if self.snapshot is None:
            raise FilterError(1, NO_CATALOGUE)
        return self._filtered(expression)

    def titles(self, ids: Iterable[str]) -> list[str | None]:
        """Return the title of each item; None where the catalogue has none."""
        if self.snapshot is None:
            return [None for _ in ids]
        titles = self.snapshot.items["title"].chunk(0) if self.snapshot.items.num_rows else ()
        rows = [self.row_of(item) for item in ids]
        return [None if row is None else titles[row].as_py() for row in rows]

    def search(self, text: str, limit: int = 20) -> list[tuple[str, str | None]]:
        """Return the ids and the titles of listed items whose title or id contains a text.

        Items whose id is the text come first, then those of the model, then the others.
        """
        if self.snapshot is None or not text or not self.snapshot.items.num_rows:
            return []
        items = self.snapshot.items
        found = pc.match_substring(items["title"], text, ignore_case=True)
        mask = pc.or_(pc.fill_null(found, False), pc.match_substring(items["item_id"], text)).to_numpy()
        rows = np.flatnonzero(mask)
        known = np.zeros(len(mask), bool)
        known[self._positions[self._positions >= 0]] = True
        first = [] if (exact := self.row_of(text)) is None else [exact]
        ordered = [*first, *rows[known[rows]][:limit].tolist(), *rows[~known[rows]][:limit].tolist()]
        shown = list(dict.fromkeys(ordered))[:limit]
        return [(items["item_id"][row].as_py(), items["title"][row].as_py()) for row in shown]

    def row_of(self, item: str) -> int | None:
        """Return the row of an item in the catalogue; None if the catalogue does not list it."""
        if self.snapshot is None:
            return None
        index = self.index.get(item)
        row = self._find(item) if index is None else int(self._positions[index])
        return None if row < 0 else row

    def divide(self, rows: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Divide rows of the catalogue that are for sale by whether the model knows their items.

        Args:
            rows: bool [rows of the catalogue].

        Returns:
            the model's rows of the items that it knows, and the catalogue's rows of the others.
        """
        others = rows.copy()
        if self.snapshot is not None:
            others &= self.snapshot.available
        known = np.flatnonzero(_of_model(others, self._positions))
        others[self._positions[self._positions >= 0]] = False
        return known, np.flatnonzero(others)

    def newest(self, rows: NDArray[np.intp], most: int) -> dict[str, int]:
        """Return the ids of some rows of the catalogue with the row of each, the newest state first."""
        if self.snapshot is None:
            return {}
        since = self.snapshot.items["valid_from"].take(rows)
        newest = pc.sort_indices(since, sort_keys=[("", "descending")])[:most]
        chosen = rows[newest.to_numpy()]
        return dict(zip(self.snapshot.ids.take(chosen).to_pylist(), chosen.tolist(), strict=True))

    def for_sale(self, items: Sequence[str]) -> dict[str, int]:
        """Return those of some items that the catalogue has for sale, with the row of each."""
        if self.snapshot is None:
            return {}
        rows = _positions(items, self.snapshot.ids).tolist()
        available = self.snapshot.available
        return {item: row for item, row in zip(items, rows, strict=True) if row >= 0 and available[row]}


def _positions(items: Sequence[str] | NDArray[np.object_], ids: pa.Array) -> NDArray[np.int32]:
    """Return the position of each item among the ids: int32 [items]; -1 for an item that is not there."""
    chunks = [pa.array(items[at : at + CHUNK], ids.type) for at in range(0, len(items), CHUNK)]
    found = pc.index_in(pa.chunked_array(chunks, ids.type), value_set=ids)
    positions: NDArray[np.int32] = pc.fill_null(found, -1).to_numpy()
    return positions


def _of_model(rows: Mask, positions: NDArray[np.int32]) -> Mask:
    """Return a mask of the catalogue's rows as a mask of the model's rows."""
    extended = np.append(rows, False)  # position -1 is the last
    return _shared(extended[positions])


def _penalties(allowed: Mask) -> NDArray[np.float32]:
    penalties = np.where(allowed, np.float32(0.0), np.float32(-np.inf))
    penalties.flags.writeable = False
    return penalties


def _shared(mask: Mask) -> Mask:
    """Refuse changes to a mask that several requests share."""
    mask.flags.writeable = False
    return mask


def _row_mask(snapshot: Snapshot | None, expression: str) -> Mask:
    if snapshot is None:
        raise FilterError(1, NO_CATALOGUE)
    return _shared(snapshot.filter(expression).rows(snapshot.items))


def _model_mask(row_mask: Callable[[str], Mask], positions: NDArray[np.int32], expression: str) -> Mask:
    return _of_model(row_mask(expression), positions)


def _filtered(mask: Callable[[str], Mask], allowed: Mask, expression: str) -> NDArray[np.float32]:
    return _penalties(mask(expression) & allowed)


def _find(ids: pa.Array, item: str) -> int:
    return int(pc.index(ids, pa.scalar(item, ids.type)).as_py())
