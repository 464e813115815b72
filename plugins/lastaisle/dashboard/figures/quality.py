"""How good each version is: by its evaluation before it served, and by what shoppers did while it served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from lastaisle.dashboard.figures.cube import shop_cube
from lastaisle.dashboard.figures.moves import read_moves
from lastaisle.dashboard.figures.reports import Measured, Reports, Unreadable
from lastaisle.evaluation.report import Estimate
from lastaisle.feedback.metrics.read import figures_of
from lastaisle.registry.ledger import REFUSE, REGISTER
from lastaisle.release.fate import Fate, fates

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Registered:
    """A version of the ledger.

    Attributes:
        version: its number.
        at: when it was registered (UTC).
        fate: what became of it.
    """

    version: str
    at: datetime
    fate: Fate

    @property
    def is_refused(self) -> bool:
        """Whether the gate refused it."""
        return self.fate.decided is not None and self.fate.decided.action == REFUSE


@dataclass(frozen=True)
class VersionRow:
    """One version with its figures.

    Attributes:
        of: the version.
        report: what its evaluation measured; None if its run holds no report, or is still being read.
        is_waiting: whether its report is still being read.
        online: the figures of its lists (see `lastaisle.feedback.metrics.read.figures_of`); None without.
    """

    of: Registered
    report: Measured | Unreadable | None
    is_waiting: bool
    online: Row | None

    def score(self, metric: str, objective: str) -> Estimate | None:
        """Return a metric of its evaluation; None if it was not measured."""
        return self.report.score(metric, objective) if isinstance(self.report, Measured) else None


def find_registered(source: Source) -> list[Registered]:
    """Return the versions that were registered, the oldest first."""
    moves = read_moves(source)
    at = {move.to_version: move.moved_at for move in moves if move.action == REGISTER}
    found = [Registered(version, at[version], fate) for version, fate in fates(moves).items()]
    return sorted(found, key=lambda one: (one.at, one.version))


def find_online(source: Source, placement: str | None) -> dict[str, Row]:
    """Return the figures of each version's lists, by version, over all days.

    Args:
        source: where the figures are.
        placement: counts this placement alone.
    """
    cube = shop_cube(source)
    if cube is None:
        return {}
    where = pc.field("model_version").is_valid() & (pc.field("policy") == "model")
    if placement is not None:
        where &= pc.field("placement") == placement
    rows = figures_of(cube.days.filter(where), by=("version",), every=None).to_pylist()
    return {row["model_version"]: row for row in rows}


def rows_of(
    registered: Sequence[Registered], reports: Reports, online: Mapping[str, Row]
) -> list[VersionRow]:
    """Return each version with its figures, the newest first."""
    return [
        VersionRow(
            one,
            reports.by_run.get(one.fate.run_id),
            one.fate.run_id not in reports.by_run,
            online.get(one.version),
        )
        for one in reversed(registered)
    ]


def lengths_in(reports: Reports) -> list[int]:
    """Return the lengths k of the lists that were measured, in order."""
    names = {
        name
        for report in reports.by_run.values()
        if isinstance(report, Measured)
        for scores in report.scores.values()
        for name in scores
    }
    return sorted({int(name.removeprefix("recall@")) for name in names if name.startswith("recall@")})
