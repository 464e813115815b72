"""The arms of shoppers in a notebook and in SQL: the same as in the service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from lastaisle.experiments.assignment import BUCKETS, arm_sql, bucket_sql

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import Phase, Trial

_TIME: Final = "%Y-%m-%d %H:%M:%S.%f+00"


def arms_of(trial: Trial, units: Iterable[str], moment: datetime) -> list[str | None]:
    """Return the arm of each shopper at a moment; None for a shopper whom the experiment leaves out.

    Placement and targeting are not asked: they belong to a request, not to a shopper.

    Args:
        trial: an experiment or a canary.
        units: the pseudonyms of shoppers, or of visits where there is no shopper.
        moment: when (UTC).
    """
    everywhere = replace(trial, placements=(), targeting={})
    return [trial.arm_of(unit, moment) if everywhere.takes(unit, "", {}, moment) else None for unit in units]


def arm_macro(trial: Trial) -> str:
    """Return DuckDB SQL that makes a macro: `arm_of_NAME(unit, moment)` gives what `arms_of` gives."""
    name = f"arm_of_{trial.name.replace('-', '_')}"
    first, end = trial.buckets
    layer = bucket_sql(f"layer:{trial.layer}", "unit")
    lines = [f"WHEN moment < {_literal(trial.starts_at)} THEN NULL"]
    if trial.stops_at is not None:
        lines.append(f"WHEN moment >= {_literal(trial.stops_at)} THEN NULL")
    if trial.buckets != (0, BUCKETS):
        lines.append(f"WHEN NOT {layer} BETWEEN {first} AND {end - 1} THEN NULL")
    bucket = bucket_sql(trial.name, "unit")
    lines += (f"WHEN {since} THEN {arm_sql(phase.ranges, bucket)}" for since, phase in _newest(trial.phases))
    return f"CREATE OR REPLACE MACRO {name}(unit, moment) AS CASE\n    " + "\n    ".join(lines) + "\nEND;"


def _newest(phases: Sequence[Phase]) -> list[tuple[str, Phase]]:
    """Return SQL of the begin of each phase, the newest phase first."""
    return [(f"moment >= {_literal(phase.starts_at)}", phase) for phase in reversed(phases)]


def _literal(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.strftime(_TIME)}'"
