"""Who refuses a purpose: 24 bytes a shopper, and a look-up of some microseconds."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PSEUDONYM_BYTES: Final = 16
RECENT: Final = 20_000
"""So many decisions are kept beside the sorted ones, before they are merged."""


@dataclass(frozen=True)
class Decided:
    """Decisions about one purpose.

    Attributes:
        names: S16 [n], the pseudonyms as bytes.
        ranks: int64 [n]; see `rank_of`.
    """

    names: NDArray[np.bytes_]
    ranks: NDArray[np.int64]

    @classmethod
    def of(cls, pseudonyms: Iterable[str], ranks: Any) -> Decided:
        """Return the decisions of some pseudonyms, each 32 hexadecimal digits."""
        names = np.frombuffer(bytes.fromhex("".join(pseudonyms)), f"S{PSEUDONYM_BYTES}")
        return cls(names, np.asarray(ranks, np.int64))


def rank_of(microseconds: Any, granted: Any) -> Any:
    """Return a number that orders decisions: the later is higher, and among equal times the refusal is.

    The number of a refusal is odd.

    Args:
        microseconds: the time of the decision, since the epoch; a number or an array.
        granted: whether it grants; a truth value or an array.
    """
    return microseconds * 2 + (1 - granted)


@dataclass(frozen=True)
class _State:
    """Sorted decisions, and the decisions since they were sorted, by the pseudonym's bytes."""

    names: NDArray[np.bytes_]
    ranks: NDArray[np.int64]
    recent: dict[bytes, int] = field(default_factory=dict)


class Refusals:
    """The newest decision of each shopper and of each visit about one purpose.

    Readers need no lock: they see the state before or after a change.
    """

    def __init__(self) -> None:
        self._state = _State(np.empty(0, f"S{PSEUDONYM_BYTES}"), np.empty(0, np.int64))
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many pseudonyms have a decision; one that decided again lately counts twice."""
        return len(self._state.names) + len(self._state.recent)

    def __contains__(self, pseudonym: str) -> bool:
        """Tell whether the newest decision of a pseudonym refuses."""
        state = self._state
        if not len(state.names) and not state.recent:
            return False
        name = bytes.fromhex(pseudonym)
        rank = state.recent.get(name, 0)
        if len(state.names):
            sought = np.frombuffer(name, f"S{PSEUDONYM_BYTES}")
            at = int(state.names.searchsorted(sought)[0])
            if at < len(state.names) and state.names[at : at + 1] == sought:
                rank = max(rank, int(state.ranks[at]))
        return rank % 2 == 1

    def add(self, decisions: Mapping[str, int]) -> None:
        """Add some decisions: the ranks by the pseudonyms."""
        with self._lock:
            recent = self._state.recent
            for pseudonym, rank in decisions.items():
                name = bytes.fromhex(pseudonym)
                recent[name] = max(rank, recent.get(name, 0))
            if len(recent) > RECENT:
                self._merge([])

    def extend(self, parts: Iterable[Decided], *, anew: bool = False) -> None:
        """Add many decisions at once.

        Args:
            parts: the decisions, in any order.
            anew: whether the decisions that are known are forgotten.
        """
        with self._lock:
            self._merge(list(parts), anew=anew)

    def _merge(self, parts: list[Decided], *, anew: bool = False) -> None:
        """Sort all decisions, and keep the newest of each pseudonym."""
        old = self._state
        if not anew:
            parts.append(Decided(old.names, old.ranks))
            recent = np.frombuffer(b"".join(old.recent), f"S{PSEUDONYM_BYTES}")
            parts.append(Decided(recent, np.fromiter(old.recent.values(), np.int64, len(old.recent))))
        names = np.concatenate([np.empty(0, f"S{PSEUDONYM_BYTES}"), *(part.names for part in parts)])
        ranks = np.concatenate([np.empty(0, np.int64), *(part.ranks for part in parts)])
        order = names.argsort()
        names, ranks = names[order], ranks[order]
        if len(names):
            first = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
            names, ranks = names[first], np.maximum.reduceat(ranks, first)
        self._state = _State(names, ranks)
