"""What a bandit learns from lists and their rewards: a pure function, so that it can be computed again."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.experiments.bandits.context import cell_of, levels_of
from lastaisle.experiments.bandits.fading import Hour, best_half_life
from lastaisle.experiments.bandits.options import option
from lastaisle.experiments.bandits.policies import Posterior
from lastaisle.experiments.traffic import Bandit

_SECONDS: Final = 3600
_MICROSECONDS: Final = 3_600_000_000
_DECIMALS: Final = 4  # of counts that fade: the posterior stays short


def learn(bandit: Bandit, rows: pa.Table, now: datetime, *, outcomes_version: int = -1) -> dict[str, Any]:
    """Return the posterior of a bandit after some lists, as plain values.

    A list counts once its horizon is over, and until it is older than the window. Lists fade by whole hours,
    so the counts do not depend on the order of the rows. Without the option half_life_hours, the lists
    themselves say how fast they fade, see `best_half_life`.

    Args:
        bandit: its algorithm, options, arms and context; its posterior is not read.
        rows: the lists, with the columns of LISTS_SCHEMA; lists of unknown arms are left out.
        now: the newest moment of the data.
        outcomes_version: the version of `outcomes` that the rows come from.
    """
    until = now.astimezone(UTC) - timedelta(hours=option(bandit, "horizon_hours"))
    counted = _counted(bandit, rows, until)
    hours, levels = _hours(bandit, counted)
    half_life = option(bandit, "half_life_hours")
    if math.isnan(half_life):
        half_life = best_half_life(hours)
    newest = int(until.timestamp() // _SECONDS)
    counts: dict[str, dict[str, tuple[float, float]]] = {}
    for hour, arm, cell, lists, rewards in hours:
        age = newest - hour
        weight = 0.5 ** (age / half_life) if half_life else 1.0
        before = counts.setdefault(arm, {}).get(cell, (0.0, 0.0))
        counts[arm][cell] = (before[0] + weight * lists, before[1] + weight * rewards)
    posterior = Posterior(
        outcomes_version=outcomes_version,
        now=now.astimezone(UTC).isoformat(),
        half_life_hours=half_life,
        levels=levels,
        counts={arm: {cell: _rounded(sums) for cell, sums in cells.items()} for arm, cells in counts.items()},
        totals=_totals(counted),
    )
    return dict(msgspec.to_builtins(posterior))


def _counted(bandit: Bandit, rows: pa.Table, until: datetime) -> pa.Table:
    """Return the lists that count: of known arms, with their horizon over, in the window."""
    since = until - timedelta(hours=option(bandit, "window_hours"))
    first, end = (pa.scalar(moment, rows["shown_at"].type) for moment in (since, until))
    in_window = pc.and_(pc.greater_equal(rows["shown_at"], first), pc.less(rows["shown_at"], end))
    return rows.filter(pc.and_(pc.is_in(rows["arm"], pa.array(list(bandit.base))), in_window))


def _hours(bandit: Bandit, counted: pa.Table) -> tuple[list[Hour], tuple[tuple[str, ...], ...]]:
    """Return the lists by hour, arm and cell in a fixed order, and the levels of the columns of context."""
    context = counted["context"] if bandit.context else pa.array([""] * counted.num_rows, pa.string())
    table = pa.table(
        {
            "hour": pc.divide(counted["shown_at"].cast(pa.int64()), _MICROSECONDS),
            "arm": counted["arm"],
            "context": pc.fill_null(context, ""),
            "reward": counted["reward"].cast(pa.int64()),
        }
    )
    sums = table.group_by(["hour", "arm", "context"]).aggregate([("reward", "count"), ("reward", "sum")])
    names = ("hour", "arm", "context", "reward_count", "reward_sum")
    found = list(zip(*(sums[name].to_pylist() for name in names), strict=True))
    contexts: dict[str, int] = {}
    for _, _, context, lists, _ in found:
        contexts[context] = contexts.get(context, 0) + lists
    levels = levels_of(contexts, len(bandit.context))
    cells = {context: cell_of(context, levels) for context in contexts}
    hours = [Hour(hour, arm, cells[context], lists, rewards) for hour, arm, context, lists, rewards in found]
    return sorted(hours), levels


def _totals(counted: pa.Table) -> dict[str, tuple[int, int, float]]:
    """Return lists, rewards and the mean propensity of each arm."""
    wanted = [("reward", "count"), ("reward", "sum"), ("propensity", "mean")]
    # One thread adds in the order of the rows, so that the sum is always the same.
    lists = counted.group_by("arm", use_threads=False).aggregate(wanted)
    return {
        row["arm"]: (row["reward_count"], row["reward_sum"], round(row["propensity_mean"] or 0.0, _DECIMALS))
        for row in sorted(lists.to_pylist(), key=lambda row: row["arm"])
    }


def _rounded(sums: tuple[float, float]) -> tuple[float, float]:
    lists, rewards = (round(number, _DECIMALS) for number in sums)
    return lists, rewards
