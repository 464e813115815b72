"""Compare the counts of the tables with what the simulated shop knows to be true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lastaisle.lake.tables import EXPOSURE_BATCHES, EXPOSURES, OUTCOMES, UNATTRIBUTED

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

KINDS: Final = ("shown", "clicked", "added", "bought")


@dataclass(frozen=True)
class Reconciliation:
    """The counts of what shoppers saw and did, from the screen to the outcome.

    Attributes:
        on_screen: items that shoppers saw.
        stored: the rows that the service stored, by kind; without consent it stores none.
        clean: the rows of the table exposures, by kind.
        quarantined: rows of exposures that broke a rule.
        duplicate: rows that arrived twice, for example since a day was cut and repeated.
        outcomes: rows of the table outcomes.
        clicks_attributed: clicks that follow from an exposure.
        clicks_unattributed: clicks that follow from none, each with its reason.
    """

    on_screen: int
    stored: Mapping[str, int]
    clean: Mapping[str, int]
    quarantined: int
    duplicate: int
    outcomes: int
    clicks_attributed: int
    clicks_unattributed: int

    @property
    def differences(self) -> list[str]:
        """What does not add up, in words; empty if everything does."""
        found = []
        stored, clean = sum(self.stored.values()), sum(self.clean.values())
        if stored != clean + self.quarantined:
            found.append(
                f"the shop knows of {stored:,} stored rows, but exposures has {clean:,} and quarantine "
                f"{self.quarantined:,}"
            )
        if self.outcomes != self.clean["shown"]:
            found.append(f"exposures has {self.clean['shown']:,} shown items, outcomes {self.outcomes:,}")
        if self.clicks_attributed + self.clicks_unattributed != self.clean["clicked"]:
            found.append(
                f"exposures has {self.clean['clicked']:,} clicks, outcomes {self.clicks_attributed:,} and "
                f"unattributed {self.clicks_unattributed:,}"
            )
        return found

    @property
    def sentences(self) -> list[str]:
        """The counts in words."""
        shown, clicked = self.stored["shown"], self.clean["clicked"]
        return [
            f"{self.on_screen:,} items on the screen = {shown:,} stored + {self.on_screen - shown:,} without "
            "consent, which are not stored",
            f"{sum(self.stored.values()):,} rows of feedback = {sum(self.clean.values()):,} clean + "
            f"{self.quarantined:,} quarantined; {self.duplicate:,} more arrived twice",
            f"{self.clean['shown']:,} exposures = {self.outcomes:,} outcomes",
            f"{clicked:,} clicks = {self.clicks_attributed:,} attributed + {self.clicks_unattributed:,} "
            "unattributed",
        ]


def reconcile(lake: Lake, truths: Sequence[Mapping[str, Any]]) -> Reconciliation:
    """Count what shoppers saw and did, in the tables and in the truth of some days.

    Args:
        lake: the tables.
        truths: the truth of each day, as `LiveTruth.as_dict` returns it.
    """
    totals: Counter[str] = Counter()
    for truth in truths:
        totals.update({name: value for name, value in truth["total"].items() if isinstance(value, int)})
    kinds = Counter(_column(lake, EXPOSURES, "kind"))
    clicks = _column(lake, OUTCOMES, "clicks")
    return Reconciliation(
        on_screen=totals["shown"],
        stored={kind: totals[f"stored_{kind}"] for kind in KINDS},
        clean={kind: kinds[kind] for kind in KINDS},
        quarantined=sum(_column(lake, EXPOSURE_BATCHES, "rows_quarantined")),
        duplicate=sum(_column(lake, EXPOSURE_BATCHES, "rows_duplicate")),
        outcomes=len(clicks),
        clicks_attributed=sum(clicks),
        clicks_unattributed=_column(lake, UNATTRIBUTED, "kind").count("clicked"),
    )


def _column(lake: Lake, name: str, column: str) -> list[Any]:
    """Return a column of a table; empty if the table was never written."""
    rows = lake.scan(name, [column])
    return list(rows[column].to_pylist()) if column in rows.column_names else []
