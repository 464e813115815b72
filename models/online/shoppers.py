"""Shoppers as vectors in the space of the items, by their pseudonyms. Only the latest shoppers are kept."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Shoppers:
    """One vector per shopper. An unknown shopper has a vector of zeros.

    Args:
        width: the length of a vector.
        max_shoppers: the largest number of shoppers. The shopper unseen for longest leaves first.
    """

    def __init__(self, width: int, max_shoppers: int) -> None:
        self._max_shoppers = max_shoppers
        self._rows: dict[str, int] = {}  # the shopper unseen for longest comes first
        self._vectors = np.zeros((64, width), np.float32)  # row 0 is for unknown shoppers; spare rows follow

    def __len__(self) -> int:
        """Return the number of known shoppers."""
        return len(self._rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the pseudonyms; the shopper unseen for longest comes first."""
        return tuple(self._rows)

    def of(self, users: Iterable[Any]) -> NDArray[np.float32]:
        """Return the vectors of users, [n, width]; zeros for unknown users and for None."""
        vectors: NDArray[np.float32] = self._vectors[[self._rows.get(user, 0) for user in users]]
        return vectors

    def put(self, user: str, vector: NDArray[np.float32]) -> None:
        """Set the vector of a user, who becomes the latest user."""
        row = self._rows.pop(user, 0)
        if not row and len(self._rows) >= self._max_shoppers:
            row = self._rows.pop(next(iter(self._rows)), 0)
        row = row or len(self._rows) + 1
        if row == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
        self._rows[user] = row
        self._vectors[row] = vector

    def forget(self, users: Container[str]) -> int:
        """Drop the vectors of users, e.g. of users who withdrew their consent; return how many had one."""
        before, kept = len(self), [name for name in self._rows if name not in users]
        vectors = self.of(kept)
        self._rows = {name: row for row, name in enumerate(kept, start=1)}
        self._vectors[1:] = 0.0
        self._vectors[1 : len(kept) + 1] = vectors
        return before - len(kept)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return pseudonyms and vectors; the shopper unseen for longest comes first."""
        return {"shoppers": np.array(self.names, dtype=np.str_), "shopper_vectors": self.of(self._rows)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned. The arrays of an old delta have no shoppers."""
        if "shoppers" in arrays:
            for user, vector in zip(arrays["shoppers"].tolist(), arrays["shopper_vectors"], strict=True):
                self.put(user, vector)
