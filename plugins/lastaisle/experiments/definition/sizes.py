"""How many shoppers an experiment needs, and how long they take to come."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from lastaisle.experiments.definition.past import compared_shares
from lastaisle.experiments.statistics.fixed import required_units, required_units_with_looks

if TYPE_CHECKING:
    from lastaisle.experiments.definition.past import Past
    from lastaisle.experiments.traffic import AnalysisRules, Trial

_MOST_UNITS = 10_000_000_000


@dataclass(frozen=True)
class Size:
    """How many shoppers an experiment needs to find its least effect.

    Attributes:
        units: the shoppers of all arms that suffice, though the intervals are looked at all the time.
        units_of_one_look: the shoppers of all arms that one look at the end would need.
        by_arm: `units`, by arm.
        units_a_day: the new shoppers a day that the trial will have.
        days: after how many days it has them; None if never.
        least_effect: the least effect that it finds by its stop; None if it has no stop.
    """

    units: int
    units_of_one_look: int
    by_arm: dict[str, int]
    units_a_day: float
    days: float | None
    least_effect: float | None


def size_of(trial: Trial, rules: AnalysisRules, past: Past) -> Size | None:
    """Return how many shoppers an experiment needs; None if its metric was never above 0, or never varied.

    Args:
        trial: its phases say the shares, its stop says how long it runs.
        rules: the primary metric, the least effect, alpha and power.
        past: the metric, and how many shoppers come.
    """
    if not (past.baseline and past.variance > 0 and past.share > 0):
        return None
    shares = {arm.name: compared_shares(trial).get(arm.name, 0.0) for arm in trial.arms}
    sequence, one_look = (
        _of_all_arms(list(shares.values()), rules, past, count)
        for count in (required_units_with_looks, required_units)
    )
    total = sum(shares.values())
    return Size(
        units=sequence,
        units_of_one_look=one_look,
        by_arm={arm: math.ceil(sequence * share / total) for arm, share in shares.items()},
        units_a_day=past.units_a_day(),
        days=_with_horizon(past.days_for(sequence), rules),
        least_effect=_least_effect(trial, rules, past, sequence),
    )


def planned_units(trial: Trial, rules: AnalysisRules, past: Past | None) -> int | None:
    """Return the number of shoppers for which an experiment's intervals are narrowest; None if unknown."""
    size = None if past is None else size_of(trial, rules, past)
    return None if size is None else min(max(size.units, 100), _MOST_UNITS)


def _of_all_arms(shares: Sequence[float], rules: AnalysisRules, past: Past, count: Callable[..., int]) -> int:
    """Return the shoppers of all arms, of which each arm beside the control has enough for itself.

    The arms beside the control share alpha, as in the analysis.
    """
    control, *others = shares
    needed = []
    for other in (share for share in others if share > 0):
        pair = control + other
        units = count(
            past.baseline,
            past.variance,
            rules.minimum_effect,
            alpha=rules.alpha / len(others),
            power=rules.power,
            shares=(control / pair, other / pair),
        )
        needed.append(units * sum(shares) / pair)
    return math.ceil(max(needed))


def _with_horizon(days: float | None, rules: AnalysisRules) -> float | None:
    return None if days is None else days + rules.horizon_hours / 24


def _least_effect(trial: Trial, rules: AnalysisRules, past: Past, units: int) -> float | None:
    """Return the least effect that the shoppers until the stop suffice for; inf without shoppers."""
    if trial.stops_at is None:
        return None
    length = trial.stops_at - trial.starts_at - timedelta(hours=rules.horizon_hours)
    available = past.units_in(length / timedelta(days=1)) if length > timedelta(0) else 0.0
    return rules.minimum_effect * math.sqrt(units / available) if available else math.inf
