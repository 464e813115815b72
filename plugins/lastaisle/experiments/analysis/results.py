"""The rows of the table `experiment_results`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.errors import NotEnoughDataError
from lastaisle.experiments.statistics.fixed import p_value, z_value
from lastaisle.lake.tables import EXPERIMENT_RESULTS, EXPERIMENT_RESULTS_SCHEMA, TIMESTAMP

if TYPE_CHECKING:
    from lastaisle.experiments.analysis.counts import Clock, Counted
    from lastaisle.experiments.analysis.looks import Looks, MetricSequence
    from lastaisle.experiments.traffic import Trial
    from lastaisle.lake.lake import Lake
    from lastaisle.lake.reader import LakeReader


def result_rows(
    trial: Trial,
    counted: Counted,
    looks: Looks,
    clock: Clock,
    states: Mapping[int, tuple[str, str]],
) -> pa.Table:
    """Return the rows of some hours.

    Args:
        trial: the experiment.
        counted: names the currency and the exposures that do not count.
        looks: the estimates of all hours.
        clock: the versions of the tables that were read.
        states: for the number of each hour, in order, the state and the reason.
    """
    hours, ends = np.array(list(states), dtype=np.int64), counted.ends()
    names = [arm.name for arm in trial.arms]
    shared = {
        "experiment": trial.name,
        "started_at": trial.starts_at,
        "control": names[0],
        "rho": looks.rho,
        "left_out": json.dumps(counted.left_out),
        "currency": counted.currency,
        "outcomes_version": clock.outcomes,
        "events_version": clock.events,
    }
    by_hour = {
        "hour": [ends[hour] for hour in hours],
        "state": [state for state, _ in states.values()],
        "reason": [reason for _, reason in states.values()],
        "ratio_p": looks.ratio_p[hours],
        "switched": looks.switched[hours],
        "differs": looks.differs[hours],
        **_of_arm("control", looks, hours, 0),
    }
    tables = []
    for one in (*looks.primary, *looks.guardrails):
        columns = {**by_hour, **_of_arm("arm", looks, hours, names.index(one.arm)), **_of_metric(one, hours)}
        columns |= {name: [value] * len(hours) for name, value in shared.items()}
        arrays = [_array(columns[field.name], field.type) for field in EXPERIMENT_RESULTS_SCHEMA]
        tables.append(pa.Table.from_arrays(arrays, schema=EXPERIMENT_RESULTS_SCHEMA))
    if not tables or not states:
        return EXPERIMENT_RESULTS_SCHEMA.empty_table()
    return in_order(pa.concat_tables(tables))


def in_order(rows: pa.Table) -> pa.Table:
    """Return rows by hour, the primary metric before the guardrails."""
    order = [("hour", "ascending"), ("role", "descending"), ("metric", "ascending"), ("arm", "ascending")]
    return rows.sort_by(order)


def read_results(lake: LakeReader, name: str, started_at: datetime | None = None) -> pa.Table:
    """Read the results of an experiment, in the order of the hours.

    Args:
        lake: the lake.
        name: the experiment.
        started_at: when it began; None for its newest start.

    Raises:
        NotEnoughDataError: the experiment has no results yet.
    """
    rows = _stored(lake, name)
    if rows.num_rows and started_at is None:
        started_at = pc.max(rows["started_at"]).as_py()
    if rows.num_rows:
        rows = rows.filter(pc.field("started_at") == pa.scalar(started_at, TIMESTAMP))
    if not rows.num_rows:
        raise NotEnoughDataError(
            f"the lake {lake.url} has no results of the experiment {name!r}: {_next_step(lake, name)}"
        )
    return in_order(rows)


def newest_results(lake: LakeReader) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the newest hour of each experiment's newest start, the primary metric first."""
    if lake.version(EXPERIMENT_RESULTS) is None:
        return {}
    keys = ["experiment", "started_at", "hour"]
    hours = lake.scan(EXPERIMENT_RESULTS, keys).group_by(keys[:2]).aggregate([("hour", "max")]).to_pylist()
    newest: dict[str, tuple[datetime, datetime]] = {}
    for row in hours:
        newest[row["experiment"]] = max(
            newest.get(row["experiment"], (row["started_at"],) * 2), (row["started_at"], row["hour_max"])
        )
    last = sorted({hour for _, hour in newest.values()})
    rows = in_order(lake.scan(EXPERIMENT_RESULTS, where=pc.field("hour").isin(pa.array(last, TIMESTAMP))))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        if newest[row["experiment"]] == (row["started_at"], row["hour"]):
            found.setdefault(row["experiment"], []).append(row)
    return found


def newest_result(lake: LakeReader, trial: Trial, version: int | None) -> dict[str, Any] | None:
    """Return a row of the newest hour of an experiment; None without results."""
    rows = _stored(lake, trial.name, version)
    if rows.num_rows:
        rows = rows.filter(pc.field("started_at") == pa.scalar(trial.starts_at, TIMESTAMP))
    if not rows.num_rows:
        return None
    newest: dict[str, Any] = rows.sort_by([("hour", "descending")]).slice(0, 1).to_pylist()[0]
    return newest


def append_results(lake: Lake, trial: Trial, rows: pa.Table, version: int | None) -> bool:
    """Append rows, once for an experiment and its newest hour.

    Raises:
        LakeConflictError: the table changed since it was read.
    """
    newest = pc.max(rows["hour"]).as_py()
    key = f"{trial.name} {trial.starts_at.isoformat()} {newest.isoformat()}"
    return lake.append(EXPERIMENT_RESULTS, rows, key=key, if_version=-1 if version is None else version)


def _stored(lake: LakeReader, name: str, version: int | None = None) -> pa.Table:
    if not name.isascii():  # no experiment has such a name, and Arrow cannot hold each text
        return pa.table({})
    return lake.scan(EXPERIMENT_RESULTS, where=pc.field("experiment") == name, version=version)


def _next_step(lake: LakeReader, name: str) -> str:
    from lastaisle.experiments.traffic import read_traffic

    known = sorted(read_traffic(lake).newest())
    if name in known:
        return (
            "run `lastaisle attribute` and then `lastaisle experiments analyze`. An hour is analysed when "
            "the data reach its end"
        )
    return f"experiments are: {', '.join(known) or 'none. Define one, and run `lastaisle experiments apply`'}"


def _of_arm(prefix: str, looks: Looks, hours: Any, place: int) -> dict[str, Any]:
    return {
        f"{prefix}_units": looks.entered[hours, place],
        f"{prefix}_seen": looks.seen[hours, place],
        f"{prefix}_expected": looks.expected[hours, place],
    }


def _of_metric(one: MetricSequence, hours: Any) -> dict[str, Any]:
    found, count = one.found, len(hours)
    fixed_low, fixed_high = found.interval(z_value(one.alpha))
    with np.errstate(invalid="ignore"):
        reduction = 1 - found.variance / found.plain_variance
    return {
        "metric": [one.metric.name] * count,
        "role": [one.role] * count,
        "arm": [one.arm] * count,
        "alpha": [one.alpha] * count,
        "units": found.units[hours],
        "value": found.arm[hours],
        "control_value": found.control[hours],
        "difference": found.difference[hours],
        "low": one.low[hours],
        "high": one.high[hours],
        "fixed_low": fixed_low[hours],
        "fixed_high": fixed_high[hours],
        "p_value": np.where(np.isfinite(found.variance), p_value(found.difference, found.variance), np.nan)[
            hours
        ],
        "variance_reduction": reduction[hours],
    }


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    """Return a column; numbers that are not finite are NULL: nothing is known yet."""
    if isinstance(values, np.ndarray) and pa.types.is_floating(kind):
        return pa.array(values, kind, mask=~np.isfinite(values))
    if isinstance(values, np.ndarray):
        return pa.array(values.astype(np.int64), kind)
    return pa.array(values, kind)
