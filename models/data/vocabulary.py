"""The vocabulary: the row of each item. New items get new rows, and old rows do not move."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Vocabulary:
    """Item ids and their indices. Index 0 is padding and also stands for every unknown item.

    The vocabulary also has the counts: how often each item was seen in training, with the decay of the
    training. By these counts negatives are sampled, and popular items are recommended to empty sessions.

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
        """Return the number of indices: all items and the padding."""
        return len(self.ids)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ids) - 1

    def __contains__(self, item: object) -> bool:
        """Tell whether the vocabulary has the item."""
        return item in self._index

    def encode(self, items: Iterable[Any]) -> NDArray[np.int32]:
        """Return the index of each item, int32 [n]; 0 = unknown."""
        known = self._index
        return np.fromiter((known.get(item, 0) for item in items), np.int32)

    def decode(self, indices: NDArray[Any]) -> NDArray[np.object_]:
        """Return the item id of each index, in the shape of `indices`."""
        items: NDArray[np.object_] = self.ids[indices]
        return items

    def grow(self, items: Iterable[str]) -> Vocabulary:
        """Return a vocabulary with the unknown items added at the end, with counts of 0."""
        new = [item for item in dict.fromkeys(items) if item not in self._index]
        return Vocabulary([*self.ids[1:], *new], np.concatenate([self.counts, np.zeros(len(new))]))

    def with_counts(self, counts: NDArray[np.float64]) -> Vocabulary:
        """Return a vocabulary with the same items and other counts."""
        return Vocabulary(self.ids[1:], counts)

    def popular(self, k: int) -> NDArray[np.int64]:
        """Return the indices of the k items with the highest counts; ties go to the lower index."""
        return 1 + np.argsort(-self.counts[1:], kind="stable")[:k]

    def save(self, path: Path) -> None:
        """Write JSON: {"items": [...], "counts": [...]}, without the padding."""
        content = {"items": list(self.ids[1:]), "counts": self.counts[1:].tolist()}
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what `save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(content["items"], np.array([0.0, *content["counts"]]))
