"""One difference of two versions of a contract, and whom it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["breaking", "addition", "documentation"]
#: Senders write rows into the table. Readers read its rows as anonymize leaves them (the table events).
#: Privacy breaks where a value becomes less private.
Side = Literal["senders", "readers", "privacy"]


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        where: the field, the rule or the feature; `table` for a change of the whole table.
        what: the kind of change.
        level: breaking, addition or documentation.
        old: the old value, or None.
        new: the new value, or None.
        why: the effect of the change.
        breaks: the sides that a breaking change breaks; no side otherwise.
    """

    where: str
    what: str
    level: Level
    old: Any
    new: Any
    why: str
    breaks: tuple[Side, ...] = ()

    def __str__(self) -> str:
        """Return the change in one line, which names the sides."""
        sides = f" for {' and '.join(self.breaks)}" if self.breaks else ""
        return f"{self.level}{sides}: {self.where}: {self.what}: {self.why}"


def change(where: str, what: str, old: Any, new: Any, why: str, *breaks: Side | None) -> Change:
    """Return a change that breaks the given sides (None stands for no side), or an addition."""
    sides = tuple(side for side in breaks if side is not None)
    return Change(where, what, "breaking" if sides else "addition", old, new, why, sides)


def documented(where: str, old: Any, new: Any) -> Change:
    """Return a change of a description."""
    return Change(where, "description changed", "documentation", old, new, "nothing that is checked")
