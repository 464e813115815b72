"""The lists that a bandit drew, with their rewards: the rows from which it learns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.experiments.bandits.drawing import bandit_of
from lastaisle.experiments.bandits.options import option
from lastaisle.feedback.origin import arm_propensity_sql, arm_sql, choice_sql, context_sql, experiment_sql
from lastaisle.lake.errors import VersionGoneError
from lastaisle.lake.tables import OUTCOMES
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import Trial
    from lastaisle.lake.reader import LakeReader

#: One row a list, the earliest first. `unit` is the pseudonym of the shopper, or of the visit without one.
#: `reward` is 1 if an item of the list got the reward within the horizon, and 0 if not.
LISTS_SCHEMA: Final = pa.schema(
    [
        pa.field("recommendation_id", pa.string()),
        pa.field("shown_at", pa.timestamp("us", tz="UTC")),
        pa.field("unit", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("propensity", pa.float64()),
        pa.field("context", pa.string()),
        pa.field("choice", pa.string()),
        pa.field("reward", pa.int8()),
    ]
)
NO_LABEL: Final = "no_label"
UNKNOWN_ARM: Final = "unknown_arm"

_NEWEST: Final = "SELECT max(shown_at) FROM outcomes WHERE event_date = $day"
# The id of a list says its arm and the probability. A list without such an id was drawn by nobody we know.
_LISTS: Final = """
SELECT recommendation_id, min(shown_at) AS shown_at,
    coalesce(min(user_id), min(session_id)) AS unit, any_value({arm}) AS arm,
    any_value({propensity})::DOUBLE AS propensity, any_value({context}) AS context,
    any_value({choice}) AS choice,
    coalesce(max(({reward}_at - shown_at <= $horizon)::TINYINT), 0)::TINYINT AS reward
FROM outcomes
WHERE event_date >= $first_day AND shown_at >= $since AND {experiment} = $name AND {choice} IS NOT NULL
GROUP BY recommendation_id
ORDER BY shown_at, recommendation_id
"""
_WITHOUT_LABEL: Final = """
SELECT count(DISTINCT recommendation_id) FROM outcomes
WHERE event_date >= $first_day AND shown_at >= $since AND experiment = $name
    AND coalesce({experiment}, '') <> $name
"""


@dataclass(frozen=True)
class Lists:
    """The lists of a bandit in one version of the table `outcomes`.

    Attributes:
        rows: the lists of the window, with the columns of LISTS_SCHEMA.
        outcomes_version: the version of `outcomes`; -1 if there is none yet.
        now: the newest moment of the data; None without data.
        left_out: for each reason the number of lists that cannot be learned from.
    """

    rows: pa.Table
    outcomes_version: int
    now: datetime | None
    left_out: dict[str, int]


def read_lists(lake: LakeReader, trial: Trial, version: int | None = None) -> Lists:
    """Read the lists of a bandit from the table `outcomes`.

    Args:
        lake: where the table is.
        trial: the bandit; its start, options and reward count.
        version: the version of the table; the newest by default.

    Raises:
        VersionGoneError: the version is no longer kept.
    """
    chosen = lake.version(OUTCOMES) if version is None else version
    days = [] if chosen is None else lake.days_changed(OUTCOMES, None, chosen)
    if chosen is None or not days:
        return Lists(LISTS_SCHEMA.empty_table(), -1 if chosen is None else chosen, None, {})
    with open_tables(outcomes=lake.require(OUTCOMES, chosen)) as connection:
        try:
            [[now]] = connection.execute(_NEWEST, {"day": days[-1]}).fetchall()
            return _read(connection, trial, chosen, now.astimezone(UTC))
        except duckdb.Error as error:
            if chosen == lake.version(OUTCOMES):
                raise
            raise VersionGoneError(
                f"files of version {chosen} of table {OUTCOMES} are gone: {error}"
            ) from error


def _read(connection: duckdb.DuckDBPyConnection, trial: Trial, version: int, now: datetime) -> Lists:
    bandit = bandit_of(trial)
    horizon = timedelta(hours=option(bandit, "horizon_hours"))
    since = max(trial.starts_at, now - horizon - timedelta(hours=option(bandit, "window_hours")))
    sql = {
        "experiment": experiment_sql("recommendation_id"),
        "arm": arm_sql("recommendation_id"),
        "propensity": arm_propensity_sql("recommendation_id"),
        "context": context_sql("recommendation_id"),
        "choice": choice_sql("recommendation_id"),
        "reward": bandit.reward,
    }
    values = {"first_day": since.astimezone(UTC).date(), "since": since, "name": trial.name}
    rows = connection.sql(_LISTS.format(**sql), params=values | {"horizon": horizon}).to_arrow_table()
    [[without_label]] = connection.execute(_WITHOUT_LABEL.format(**sql), values).fetchall()
    of_arms = pc.is_in(rows["arm"], pa.array(list(bandit.base)))
    known = rows.filter(of_arms).cast(LISTS_SCHEMA)
    left_out = {NO_LABEL: int(without_label), UNKNOWN_ARM: rows.num_rows - known.num_rows}
    return Lists(known, version, now, {reason: count for reason, count in left_out.items() if count})
