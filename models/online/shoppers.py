"""Shoppers as vectors in the space of the items, by their pseudonyms: so many, the latest seen."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Shoppers:
    """One vector a shopper; whoever is not known has one of zeros.

    Args:
        width: numbers of a vector.
        most: shoppers kept at most; the longest unseen leaves first.
    """

    def __init__(self, width: int, most: int) -> None:
        self._most = most
        self._rows: dict[str, int] = {}  # the longest unseen first
        self._vectors = np.zeros((64, width), np.float32)  # row 0 is nobody's, and there is room for more

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Return their pseudonyms, the longest unseen first."""
        return tuple(self._rows)

    def of(self, users: Iterable[Any]) -> NDArray[np.float32]:
        """Return the vectors of users, [n, width]; zeros where unknown, or None."""
        found: NDArray[np.float32] = self._vectors[[self._rows.get(user, 0) for user in users]]
        return found

    def put(self, user: str, vector: NDArray[np.float32]) -> None:
        """Set the vector of a user, who is the latest seen from now on."""
        row = self._rows.pop(user, 0)
        if not row and len(self._rows) >= self._most:
            row = self._rows.pop(next(iter(self._rows)), 0)
        row = row or len(self._rows) + 1
        if row == len(self._vectors):
            self._vectors = np.concatenate([self._vectors, np.zeros_like(self._vectors)])
        self._rows[user] = row
        self._vectors[row] = vector

    def forget(self, users: Container[str]) -> int:
        """Drop the vectors of users, as those who withdraw their consent; return how many there were."""
        before, kept = len(self), [name for name in self._rows if name not in users]
        vectors = self.of(kept)
        self._rows = {name: row for row, name in enumerate(kept, start=1)}
        self._vectors[1:] = 0.0
        self._vectors[1 : len(kept) + 1] = vectors
        return before - len(kept)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return pseudonyms and vectors, the longest unseen first."""
        return {"shoppers": np.array(self.names, dtype=np.str_), "shopper_vectors": self.of(self._rows)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` gave; nobody, where they are of a delta from before it had shoppers."""
        if "shoppers" in arrays:
            for user, vector in zip(arrays["shoppers"].tolist(), arrays["shopper_vectors"], strict=True):
                self.put(user, vector)
