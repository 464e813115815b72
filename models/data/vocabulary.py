"""The vocabulary: which item has which row, growing without moving the rows that are there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Vocabulary:
    """Item ids and their indices; index 0 is padding and stands for every unknown item.

    Counts travel along: how often each item was seen in training, decayed as the training was. They give
    the popularity that negatives are sampled by and the fallback of empty sessions.

    Attributes:
        ids: object [size], the item id of each index; ids[0] is "" and never an item.
        counts: float64 [size]; counts[0] is 0.
    """

    def __init__(self, items: Iterable[str] = (), counts: NDArray[np.float64] | None = None) -> None:
        listed = list(items)
        self._index = {item: index for index, item in enumerate(listed, start=1)}
        if len(self._index) != len(listed):
            raise ValueError(f"items should be distinct, received {len(listed) - len(self._index)} twice")
        self.ids: NDArray[np.object_] = np.array(["", *listed], dtype=object)
        self.counts = np.zeros(self.size) if counts is None else np.asarray(counts, np.float64)
        if self.counts.shape != (self.size,):
            raise ValueError(f"counts should have shape ({self.size},), received {self.counts.shape}")

    @property
    def size(self) -> int:
        """Return the number of indices: the items and the padding."""
        return len(self.ids)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ids) - 1

    def __contains__(self, item: object) -> bool:
        """Tell whether the item is known."""
        return item in self._index

    def encode(self, items: Iterable[Any]) -> NDArray[np.int32]:
        """Return the index of each item, int32 [n]; 0 where unknown."""
        known = self._index
        return np.fromiter((known.get(item, 0) for item in items), np.int32)

    def decode(self, indices: NDArray[Any]) -> NDArray[np.object_]:
        """Return the item id of each index, in the shape of `indices`."""
        return self.ids[indices]

    def grow(self, items: Iterable[str]) -> Vocabulary:
        """Return a vocabulary with the items that were unknown added at the end, with counts of 0."""
        new = [item for item in dict.fromkeys(items) if item not in self._index]
        return Vocabulary([*self.ids[1:], *new], np.concatenate([self.counts, np.zeros(len(new))]))

    def with_counts(self, counts: NDArray[np.float64]) -> Vocabulary:
        """Return the same items with other counts."""
        return Vocabulary(self.ids[1:], counts)

    def popular(self, k: int) -> NDArray[np.int64]:
        """Return the indices of the k most frequent items; ties to the earlier index."""
        return 1 + np.argsort(-self.counts[1:], kind="stable")[:k]

    def save(self, path: Path) -> None:
        """Write JSON: {"items": [...], "counts": [...]}, padding left out."""
        content = {"items": list(self.ids[1:]), "counts": self.counts[1:].tolist()}
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(content["items"], np.array([0.0, *content["counts"]]))
