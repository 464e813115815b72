"""What the shoppers of an experiment did before it: the baseline of its metric, and how many come.

The shop's past is measured by the queries of the analysis, as an experiment of one arm that saw all lists at
the placements. So the plan and the analysis count alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec.structs import replace

from lastaisle.experiments.analysis.counts import Clock, currency_of, named_in, query_parameters
from lastaisle.experiments.analysis.strata import Strata
from lastaisle.experiments.analysis.units_query import EVENT_COLUMNS, OUTCOME_COLUMNS, unit_queries
from lastaisle.experiments.assignment import BUCKETS, Range
from lastaisle.experiments.metrics import METRICS
from lastaisle.experiments.traffic import Arm, Phase
from lastaisle.lake.tables import EVENTS, OUTCOMES
from lastaisle.lake.workspace import make_view, open_workspace
from lastaisle.privacy.consents import countable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from lastaisle.experiments.traffic import AnalysisRules, Trial
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

PAST_DAYS: Final = 28
"""The newest days that are measured."""
_NAME, _ARM = "past", "all"
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Past:
    """The shoppers whom a trial would have had in the newest days of the data.

    Attributes:
        since: the first exposure that counts (UTC).
        until: the end of the data (UTC).
        arrived: for each shopper the days from `since` to the first exposure, in order.
        judged: the shoppers whose horizon is over.
        baseline: the metric of these shoppers.
        variance: the variance of the metric from shopper to shopper; of a ratio by the delta method.
        share: the share of the shop's shoppers whom the trial takes: its buckets and its allocation.
    """

    since: datetime
    until: datetime
    arrived: NDArray[np.float64]
    judged: int
    baseline: float
    variance: float
    share: float

    @property
    def days(self) -> float:
        """The length of the past in days."""
        return (self.until - self.since) / _DAY

    def units_a_day(self) -> float:
        """Return how many new shoppers a day the trial would have, on average."""
        return len(self.arrived) * self.share / self.days

    def units_in(self, days: float) -> float:
        """Return how many shoppers the trial would have after some days."""
        if days <= self.days:
            return float(np.searchsorted(self.arrived, days, side="right")) * self.share
        return (len(self.arrived) + (days - self.days) * self._later_rate()) * self.share

    def days_for(self, units: float) -> float | None:
        """Return after how many days the trial would have so many shoppers; None if never."""
        wanted = units / self.share
        if wanted <= len(self.arrived):
            return float(self.arrived[max(int(np.ceil(wanted)) - 1, 0)])
        rate = self._later_rate()
        return None if rate == 0 else self.days + (wanted - len(self.arrived)) / rate

    def _later_rate(self) -> float:
        """Return the new shoppers a day in the second half: by then most who come often have come."""
        half = self.days / 2
        return float((self.arrived > half).sum() / (self.days - half))


def read_past(lake: Lake, settings: Settings, trial: Trial, rules: AnalysisRules) -> Past | None:
    """Measure the shoppers whom a trial would have had; None without any.

    Args:
        lake: holds outcomes and events.
        settings: say when a checkout is abandoned.
        trial: an experiment; its placements, targeting, buckets and phases say who takes part.
        rules: its primary metric and its horizon.
    """
    clock = Clock.of(lake)
    if clock.now is None:
        return None
    with open_workspace() as connection:
        _open_sources(connection, lake, clock, trial)
        first = connection.execute("SELECT min(shown_at) FROM outcomes").fetchall()[0][0]
        if first is None:
            return None
        since = max(first.astimezone(UTC), clock.now - PAST_DAYS * _DAY)
        past = _as_one_arm(trial, since)
        connection.register("buckets", Strata.of(past).buckets)
        values = query_parameters(settings, past, replace(rules, cuped_days=0), clock.now, [_ARM])
        values["currency"] = currency_of(connection, clock.now)
        for query in unit_queries(_NAME):
            connection.execute(query, named_in(query, values))
        days = connection.execute(
            "SELECT epoch(first_at - $since) / 86400 AS days FROM units ORDER BY days", {"since": since}
        ).fetchnumpy()["days"]
        judged, baseline, variance = _measured(connection, rules.primary, clock.now)
    return Past(since, clock.now, np.asarray(days, float), judged, baseline, variance, share_of(trial))


def compared_shares(trial: Trial) -> dict[str, float]:
    """Return the shares of the last phase that compares the first arm with another one."""
    control = trial.arms[0].name
    shares = [phase.shares() for phase in trial.phases]
    return next((one for one in reversed(shares) if one.get(control) and len(one) > 1), shares[-1])


def share_of(trial: Trial) -> float:
    """Return the share of the shop's shoppers whom a trial takes: its buckets and its allocation."""
    first, end = trial.buckets
    return (end - first) / BUCKETS * sum(compared_shares(trial).values())


def _as_one_arm(trial: Trial, since: datetime) -> Trial:
    everyone = Phase(starts_at=since, ranges=(Range(_ARM, 0, BUCKETS),))
    return replace(trial, name=_NAME, arms=(Arm(name=_ARM),), starts_at=since, phases=(everyone,))


def _open_sources(connection: DuckDBPyConnection, lake: Lake, clock: Clock, trial: Trial) -> None:
    """Open the tables; the outcomes are those of the shoppers who would take part."""
    events = None if clock.events is None else lake.dataset(EVENTS, clock.events)
    columns = EVENT_COLUMNS | dict.fromkeys(trial.targeting, "VARCHAR")
    make_view(connection, EVENTS, countable(events), columns)
    make_view(connection, "shown", lake.require(OUTCOMES, clock.outcomes), OUTCOME_COLUMNS)
    where, values = ["true"], dict[str, Any]()
    if trial.placements:
        where.append("placement IN (SELECT unnest($placements))")
        values["placements"] = list(trial.placements)
    if trial.targeting:
        told = " AND ".join(f"{column} IN (SELECT unnest(${column}))" for column in trial.targeting)
        where.append(f"session_id IN (SELECT session_id FROM events WHERE {told})")
        values |= {column: list(names) for column, names in trial.targeting.items()}
    connection.execute(
        f"CREATE TEMP TABLE outcomes AS SELECT * REPLACE ('{_NAME}' AS experiment, '{_ARM}' AS arm) "
        f"FROM shown WHERE event_date >= $since AND {' AND '.join(where)}",
        {**values, "since": _first_day(clock)},
    )


def _first_day(clock: Clock) -> Any:
    assert clock.now is not None, "read_past returns before"
    return (clock.now - PAST_DAYS * _DAY).date()


def _measured(connection: DuckDBPyConnection, primary: str, now: datetime) -> tuple[int, float, float]:
    """Return how many shoppers are judged, their metric, and its variance from shopper to shopper."""
    metric = METRICS[primary]
    below = metric.denominator or "1.0"
    [(count, top, bottom)] = connection.execute(
        f"SELECT count(*), avg({metric.numerator}), avg({below}) FROM measured WHERE end_at <= $now",
        {"now": now},
    ).fetchall()
    if not count or not bottom:
        return int(count), 0.0, 0.0
    ratio = top / bottom
    [(variance,)] = connection.execute(
        f"SELECT var_samp(({metric.numerator} - $ratio * {below}) / $bottom) FROM measured "
        "WHERE end_at <= $now",
        {"ratio": ratio, "bottom": bottom, "now": now},
    ).fetchall()
    return int(count), float(ratio), float(variance or 0.0)
