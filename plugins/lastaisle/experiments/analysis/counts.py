"""Read an experiment's shoppers from the lake, as sums by hour, stratum and arm."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from lastaisle.experiments.analysis.roles import metrics_of
from lastaisle.experiments.analysis.strata import Strata
from lastaisle.experiments.analysis.units_query import EVENT_COLUMNS, OUTCOME_COLUMNS, unit_queries
from lastaisle.experiments.metrics import METRICS, Metric
from lastaisle.experiments.statistics.moments import PAIRS, Moments
from lastaisle.feedback.outcomes.actions_query import NO_CURRENCY
from lastaisle.feedback.outcomes.reach import Reach
from lastaisle.lake.tables import EVENTS, OUTCOMES
from lastaisle.lake.workspace import make_view, open_workspace
from lastaisle.privacy.consents import countable
from lastaisle.sessions.windows import SESSION_REACH

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

    from lastaisle.experiments.traffic import AnalysisRules, Trial
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

    Integers = NDArray[np.int64]

HOUR: Final = timedelta(hours=1)
#: Events before the start that tell the shop's currency.
CURRENCY_DAYS: Final = 14
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Clock:
    """The newest moment of the data, and the versions of the tables that belong together.

    Attributes:
        now: the moment after the newest event whose actions are attributed; None without data.
        outcomes: the version of `outcomes`; None without the table.
        events: the version of `events` from which the outcomes were made; None without the table.
    """

    now: datetime | None
    outcomes: int | None
    events: int | None

    @classmethod
    def of(cls, lake: Lake, until: datetime | None = None) -> Clock:
        """Read the clock of a lake; `until` sets it back."""
        version = lake.version(OUTCOMES)
        if version is None:
            return cls(None, None, None)
        table = lake.table(OUTCOMES, version)
        stamps = {
            name: None if table is None else table.transaction_version(f"attribution:{name}")
            for name in ("data_end", f"{EVENTS}:version")
        }
        attributed = stamps[f"{EVENTS}:version"]
        events = lake.version(EVENTS) if attributed is None or attributed < 0 else attributed
        end = stamps["data_end"]
        now = _EPOCH + timedelta(microseconds=end) if end else _newest(lake, version)
        return cls(min(now, until) if now and until else now, version, events)


@dataclass(frozen=True)
class Counted:
    """What the shoppers of an experiment did, hour by hour.

    The first axis of each array is the hour, the second the stratum, the third the arm.

    Attributes:
        first_hour: the start of the first hour.
        shares: the expected share of each arm in each stratum.
        seen: the shoppers whose first exposure lies in the hour.
        metrics: for each metric the moments of the shoppers whose horizon ends in the hour.
        switched: the shoppers who first saw a second arm in the hour; without further axes.
        differs: the shoppers of `seen` whose arm is not the arm of their hash; without further axes.
        left_out: exposures that do not count, by the reason.
        currency: the currency of the revenue.
    """

    first_hour: datetime
    shares: NDArray[np.float64]
    seen: Integers
    metrics: Mapping[str, Moments]
    switched: Integers
    differs: Integers
    left_out: Mapping[str, int]
    currency: str

    def ends(self) -> list[datetime]:
        """Return the end of each hour (UTC)."""
        return [self.first_hour + HOUR * (number + 1) for number in range(len(self.seen))]


def count_units(
    lake: Lake,
    settings: Settings,
    trial: Trial,
    rules: AnalysisRules,
    clock: Clock,
) -> Counted | None:
    """Sum up what the shoppers of an experiment did; None before the end of its first hour.

    Args:
        lake: holds outcomes and events.
        settings: say when a checkout is abandoned.
        trial: the experiment.
        rules: its metrics, its horizon, and the days before.
        clock: the versions of the tables, and the moment until which they count.
    """
    first_hour = trial.starts_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if clock.now is None or (hours := (clock.now - first_hour) // HOUR) < 1:
        return None
    strata = Strata.of(trial)
    arms = [arm.name for arm in trial.arms]
    shape = (hours, len(strata.shares), len(arms))
    with open_workspace() as connection:
        _open_sources(connection, lake, clock, strata)
        values: dict[str, Any] = query_parameters(settings, trial, rules, clock.now, arms)
        values["currency"] = currency_of(connection, trial.starts_at)
        for query in unit_queries(trial.name):
            connection.execute(query, named_in(query, values))
        placed = _Placed(connection, values, first_hour, shape)
        return Counted(
            first_hour=first_hour,
            shares=strata.shares,
            seen=placed.counts("first_at", "true"),
            metrics={name: placed.moments(METRICS[name]) for name in metrics_of(rules)},
            switched=placed.counts("switched_at", "true").sum((1, 2)),
            differs=placed.counts("first_at", "differs").sum((1, 2)),
            left_out=_left_out(connection, values),
            currency=values["currency"],
        )


@dataclass(frozen=True)
class _Placed:
    """Sums of the table `measured` in arrays by hour, stratum and arm."""

    connection: DuckDBPyConnection
    values: Mapping[str, Any]
    first_hour: datetime
    shape: tuple[int, int, int]

    def counts(self, moment: str, condition: str) -> Integers:
        """Count units by the hour in which a moment lies."""
        hour = f"floor(epoch({moment} - $first_hour) / 3600)"
        made = np.zeros(self.shape, dtype=np.int64)
        [units] = self._sums(hour, ["count(*)"], f"{moment} IS NOT NULL AND {condition}", made)
        return units

    def moments(self, metric: Metric) -> Moments:
        """Return the moments of a metric, by the hour at whose end the horizon of the shopper is over."""
        hour = "ceil(epoch(end_at - $first_hour) / 3600) - 1"
        below = metric.denominator
        numbers = [metric.numerator, below or "1.0", f"{metric.numerator}_before"]
        numbers.append(f"{below}_before" if below else "1.0")
        products = [f"{numbers[first]} * {numbers[second]}" for first, second in PAIRS]
        sums = [_exact_sum(one) for one in (*numbers, *products)]
        made = np.zeros(self.shape)
        count, *found = self._sums(hour, ["count(*)", *sums], "true", made)
        return Moments.of_sums(count, found[:4], dict(zip(PAIRS, found[4:], strict=True)))

    def _sums(
        self, hour: str, sums: Sequence[str], condition: str, empty: NDArray[Any]
    ) -> list[NDArray[Any]]:
        """Return each sum as an array; hours that are not over are left out."""
        columns = ", ".join(f"{one} AS sum_{at}" for at, one in enumerate(sums))
        query = (
            f"WITH placed AS (SELECT *, ({hour})::BIGINT AS hour_number FROM measured WHERE {condition}) "
            f"SELECT hour_number, stratum, list_position($arms, arm) - 1 AS place, {columns} FROM placed "
            f"WHERE hour_number BETWEEN 0 AND {self.shape[0] - 1} GROUP BY ALL"
        )
        values = {**self.values, "first_hour": self.first_hour}
        rows = self.connection.sql(query, params=named_in(query, values)).to_arrow_table()
        at = tuple(rows[name].to_numpy() for name in ("hour_number", "stratum", "place"))
        made = []
        for number in range(len(sums)):
            array = empty.copy()
            array[at] = rows[f"sum_{number}"].to_numpy()
            made.append(array)
        return made


def _exact_sum(expression: str) -> str:
    """Return SQL of a sum that is the same to the last bit in each run.

    Sums of whole numbers are exact in any order. Amounts of money are no whole numbers: their order is fixed.
    """
    if "revenue" not in expression:
        return f"sum({expression})"
    return f"list({expression} ORDER BY {expression}).list_sum()"


def _open_sources(connection: DuckDBPyConnection, lake: Lake, clock: Clock, strata: Strata) -> None:
    events = None if clock.events is None else lake.dataset(EVENTS, clock.events)
    make_view(connection, EVENTS, countable(events), EVENT_COLUMNS)
    make_view(connection, OUTCOMES, lake.require(OUTCOMES, clock.outcomes), OUTCOME_COLUMNS)
    connection.register("buckets", strata.buckets)


def query_parameters(
    settings: Settings, trial: Trial, rules: AnalysisRules, now: datetime, arms: list[str]
) -> dict[str, Any]:
    """Return the parameters of the queries."""
    starts_at, cuped = trial.starts_at.astimezone(UTC), timedelta(days=rules.cuped_days)
    return {
        "name": trial.name,
        "arms": arms,
        "placements": list(trial.placements),
        "phase_starts": [phase.starts_at.astimezone(UTC) for phase in trial.phases],
        "starts_at": starts_at,
        "first_day": starts_at.date(),
        "events_from": (starts_at - max(cuped, SESSION_REACH)).date(),
        "clock": now,
        "horizon": timedelta(hours=rules.horizon_hours),
        "cuped": cuped,
        "reach": SESSION_REACH,
        "overdue": Reach.of(settings).abandoned_after,
    }


def named_in(query: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a query names."""
    return {name: value for name, value in values.items() if re.search(rf"\${name}\b", query)}


def currency_of(connection: DuckDBPyConnection, starts_at: datetime) -> str:
    """Return the currency of most order lines before the start; of the first order after it, if none was."""
    lines = "FROM events WHERE event_type = 'order_completed' AND price IS NOT NULL AND currency IS NOT NULL"
    found = connection.execute(
        f"SELECT currency {lines} AND event_date >= $since AND occurred_at < $starts_at "
        "GROUP BY currency ORDER BY count(*) DESC, currency LIMIT 1",
        {"since": (starts_at - timedelta(days=CURRENCY_DAYS)).date(), "starts_at": starts_at},
    ).fetchall()
    if not found:
        found = connection.execute(
            f"SELECT currency {lines} AND event_date >= $since AND occurred_at >= $starts_at "
            "ORDER BY occurred_at, currency LIMIT 1",
            {"since": starts_at.date(), "starts_at": starts_at},
        ).fetchall()
    return str(found[0][0]) if found else NO_CURRENCY


def _left_out(connection: DuckDBPyConnection, values: Mapping[str, Any]) -> dict[str, int]:
    """Count the exposures that do not count, and the order lines in other currencies."""
    query = (
        "SELECT CASE WHEN unit IS NULL THEN 'without shopper and visit' "
        "WHEN arm IS NULL THEN 'without arm' ELSE 'of the unknown arm ' || arm END AS reason, count(*) "
        "FROM labelled WHERE unit IS NULL OR NOT coalesce(list_contains($arms, arm), false) GROUP BY reason "
        "ORDER BY count(*) DESC, reason LIMIT 20"
    )
    found = connection.execute(query, named_in(query, values)).fetchall()
    query = (
        "SELECT line.currency, count(*) FROM acts WHERE after AND line.price IS NOT NULL "
        "AND line.currency <> $currency GROUP BY ALL ORDER BY ALL"
    )
    other = connection.execute(query, named_in(query, values)).fetchall()
    named = {f"exposures {reason}": int(count) for reason, count in found}
    return named | {f"order lines in {currency}": int(count) for currency, count in other}


def _newest(lake: Lake, version: int) -> datetime | None:
    """Return the moment after the newest exposure; None without exposures."""
    shown = lake.scan(OUTCOMES, ["shown_at"], version=version)["shown_at"]
    newest = pa.compute.max(shown).as_py()
    return None if newest is None else newest.astimezone(UTC) + timedelta(seconds=1)
