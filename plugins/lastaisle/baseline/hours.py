"""The shop's figures by hour, by the version that made the lists: what guardrails compare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.baseline.fit import WEEK, Series
from lastaisle.baseline.measures import MEASURES
from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import SHOP_METRICS, TIMESTAMP
from lastaisle.lake.workspace import open_tables
from lastaisle.sessions.windows import newest_data_end

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lastaisle.baseline.measures import Measure
    from lastaisle.lake.reader import LakeReader

    Mask = NDArray[np.bool_]

HISTORY: Final = 8 * WEEK
"""So many hours before a version give its baseline."""
CONTROL: Final = "control"
"""The arm of a canary's trial that the champion answers."""
CANARY_ARM: Final = "canary"
"""The arm that the canary answers."""
_KEYS: Final = ("placement", "segment", "model_version", "policy", "experiment", "arm")
_MODEL: Final = "model"
_COUNTS: Final = tuple(
    dict.fromkeys(
        column
        for measure in MEASURES.values()
        for column in (measure.part, measure.whole)
        if column != "revenue"
    )
)


def trial_of(version: str) -> str:
    """Return the name of the trial of a canary, as lists carry it."""
    return f"canary-{version}"


def hour_of(moment: datetime) -> int:
    """Return the hour of a moment, in hours since 1970."""
    return int(moment.timestamp() // 3600)


def moment_of(hour: int) -> datetime:
    """Return the moment at which an hour begins."""
    return datetime.fromtimestamp(3600 * hour, UTC)


@dataclass(frozen=True)
class ShopHours:
    """The figures of some hours.

    Attributes:
        rows: a row an hour, placement, segment, version, policy, experiment and arm, or some of these.
        currency: the currency of `revenue`, in which most was earned; None = nothing was sold.
        complete_until: the hour after the last whose sessions are over, in hours since 1970.
    """

    rows: pa.Table
    currency: str | None
    complete_until: int

    @cached_property
    def hours(self) -> NDArray[np.int64]:
        """The hour of each row, in hours since 1970."""
        return np.asarray(self.rows["hour"].to_numpy(), dtype=np.int64)

    @cached_property
    def lists(self) -> NDArray[np.float64]:
        """The lists of each row."""
        return np.asarray(self.rows["lists"].to_numpy(), dtype=float)

    @cached_property
    def _text(self) -> dict[str, NDArray[Any]]:
        return {
            name: self.rows[name].fill_null("").to_numpy(zero_copy_only=False).astype(object)
            for name in _KEYS
            if name in self.rows.column_names
        }

    def placements(self) -> NDArray[Any]:
        """Return the placement of each row; empty where a list names none."""
        return self._text["placement"]

    def versions(self) -> NDArray[Any]:
        """Return the version of each row."""
        return self._text["model_version"]

    def of_champions(self) -> Mask:
        """Choose the lists of the versions that serve: of no experiment, or of the control of a canary."""
        experiment, arm = self._text["experiment"], self._text["arm"]
        canary = np.array([name.startswith("canary-") for name in experiment], dtype=bool)
        plain = (experiment == "") | (canary & (arm == CONTROL))
        return np.asarray((self._text["policy"] == _MODEL) & plain, dtype=bool)

    def of_arm(self, experiment: str, arm: str, version: str) -> Mask:
        """Choose the lists of an arm that a version made."""
        return np.asarray(
            (self._text["experiment"] == experiment)
            & (self._text["arm"] == arm)
            & (self._text["policy"] == _MODEL)
            & (self.versions() == version),
            dtype=bool,
        )

    def of_others(self, champions: Iterable[str]) -> Mask:
        """Choose the lists that no champion made: popular items, and the arms of other versions."""
        made = np.isin(self.versions().astype(str), list(champions)) & (self._text["policy"] == _MODEL)
        return np.asarray(~made, dtype=bool)

    def series(self, measure: Measure, chosen: Mask, *, by: tuple[str, ...] = _KEYS[:2]) -> Series:
        """Return the counts of a measure by hour, and by stratum.

        Args:
            measure: the measure.
            chosen: the rows that count.
            by: the columns whose values make a stratum.
        """
        hours, row = np.unique(self.hours[chosen], return_inverse=True)
        strata = np.zeros(len(row), dtype=np.int64)
        for name in by:
            codes = np.unique(self._text[name][chosen].astype(str), return_inverse=True)[1]
            strata = np.unique(strata * (codes.max(initial=0) + 1) + codes, return_inverse=True)[1]
        shape = (len(hours), int(strata.max(initial=-1)) + 1)
        totals, units = np.zeros(shape), np.zeros(shape)
        np.add.at(totals, (row, strata), self.rows[measure.part].to_numpy()[chosen])
        np.add.at(units, (row, strata), self.rows[measure.whole].to_numpy()[chosen])
        return Series(hours, totals, units)

    def begins(self, champion: str) -> int | None:
        """Return the first hour of the last time in which a version serves; None if it has made no list.

        The version of an hour is the version that made most of its lists, so that a service that is late
        with its update changes nothing.
        """
        chosen = self.of_champions()
        hours, row = np.unique(self.hours[chosen], return_inverse=True)
        if not len(hours):
            return None
        names = self.versions()[chosen].astype(str)
        others = np.bincount(row, self.lists[chosen] * (names != champion), len(hours))
        own = np.bincount(row, self.lists[chosen] * (names == champion), len(hours))
        foreign = np.flatnonzero(own <= others)
        first = 0 if not len(foreign) else int(foreign[-1]) + 1
        return None if first == len(hours) else int(hours[first])

    def champions_between(self, first: int, end: int) -> list[str]:
        """Return the versions that served between two hours."""
        chosen = self.of_champions() & (self.hours >= first) & (self.hours < end)
        return sorted(set(self.versions()[chosen].astype(str)))


def read_hours(
    lake: LakeReader, maturity_hours: float, hours: int = 2 * HISTORY, by: tuple[str, ...] = _KEYS
) -> ShopHours:
    """Read the newest hours of the table `shop_metrics`.

    An hour is complete if both exposures and events reach beyond it by `maturity_hours`: without the events,
    shoppers would seem to order nothing.

    Args:
        lake: where the table is.
        maturity_hours: how long the sessions of an hour may go on.
        hours: how many hours are read.
        by: the columns that are told apart; the fewer, the faster.

    Raises:
        NotEnoughDataError: there are no figures, or no events.
    """
    days = lake.days_changed(SHOP_METRICS, None)
    if not days:
        raise NotEnoughDataError(
            f"the lake {lake.url} has no figures of the shop yet: run `lastaisle attribute`, which joins "
            "exposures and events and counts them"
        )
    newest = datetime.combine(max(days), time(), UTC) + timedelta(days=1)
    first = newest - timedelta(hours=hours)
    where = (pc.field("event_date") >= first.date()) & (pc.field("hour") >= pa.scalar(first, TIMESTAMP))
    return sum_hours(lake, lake.scan(SHOP_METRICS, where=where), maturity_hours, by)


def sum_hours(
    lake: LakeReader, found: pa.Table, maturity_hours: float, by: tuple[str, ...] = _KEYS
) -> ShopHours:
    """Sum up rows of the table `shop_metrics` by hour; see `read_hours`.

    Args:
        lake: where the events are.
        found: the rows.
        maturity_hours: how long the sessions of an hour may go on.
        by: the columns that are told apart.

    Raises:
        NotEnoughDataError: there are no events.
    """
    counts = ", ".join(f"sum(coalesce({name}, 0))::DOUBLE AS {name}" for name in ("lists", *_COUNTS))
    with open_tables(figures=found) as connection:
        money = "SELECT currency FROM figures GROUP BY 1 ORDER BY sum(revenue) DESC NULLS LAST, 1"
        currency = next((name for (name,) in connection.execute(money).fetchall() if name), None)
        sql = f"""SELECT (epoch(hour) // 3600)::BIGINT AS hour, {", ".join(by)}, {counts},
            coalesce(sum(revenue) FILTER (WHERE currency = $currency), 0)::DOUBLE AS revenue
            FROM figures GROUP BY ALL ORDER BY ALL"""
        rows: pa.Table = connection.sql(sql, params={"currency": currency}).to_arrow_table()
    shown_until = max(rows["hour"].to_pylist()) + 1
    acted_until = hour_of(newest_data_end(lake))
    complete = int(min(shown_until, acted_until) - maturity_hours)
    return ShopHours(rows, currency, complete)
