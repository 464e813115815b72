"""Whether an experiment ends at a look, and the verdict in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from lastaisle.experiments.analysis.looks import Looks, MetricSequence
from lastaisle.experiments.analysis.words import level, number, relative, span
from lastaisle.experiments.statistics.sample_ratio import ALPHA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lastaisle.experiments.traffic import AnalysisRules, State, Trial


@dataclass(frozen=True)
class Verdict:
    """The state of an experiment after a look.

    Attributes:
        hour: the number of the hour after which the experiment was looked at.
        state: running, invalid, stopped or decided.
        reason: the sentences that say why, and what to do next.
    """

    hour: int
    state: State
    reason: str


def first_verdict(
    looks: Looks, trial: Trial, rules: AnalysisRules, ends: list[datetime], since: int
) -> Verdict | None:
    """Return the verdict of the first look that ends the experiment; None if it goes on.

    Args:
        looks: the looks.
        trial: the experiment.
        rules: its rules.
        ends: the end of each hour (UTC).
        since: the number of the first hour that may end it; earlier hours were looked at before.
    """
    invalid = looks.ratio_p <= ALPHA
    harmed = _any([one.worse for one in looks.guardrails], len(ends))
    better = _any([one.better for one in looks.primary], len(ends))
    known = [one.better | one.worse | one.alike(rules.minimum_effect) for one in looks.primary]
    decided = better | (np.logical_and.reduce(known) if known else np.zeros(len(ends), dtype=bool))
    planned = planned_end(trial, rules)
    over = np.array([planned is not None and end >= planned for end in ends], dtype=bool)
    ending = invalid | harmed | decided | over
    ending[:since] = False
    if not ending.any():
        return None
    hour = int(ending.argmax())
    if invalid[hour]:
        return Verdict(hour, "invalid", _ratio(looks, trial, hour))
    if harmed[hour]:
        return Verdict(hour, "stopped", _harm(looks, rules, hour))
    if decided[hour]:
        return Verdict(hour, "decided", _decision(looks, rules, hour))
    return Verdict(hour, "decided", _open_end(looks, rules, hour))


def planned_end(trial: Trial, rules: AnalysisRules) -> datetime | None:
    """Return when the last shopper's horizon is over; None for an experiment without a stop."""
    return None if trial.stops_at is None else trial.stops_at + timedelta(hours=rules.horizon_hours)


def present_state(looks: Looks, rules: AnalysisRules, hour: int) -> str:
    """Say how a running experiment stands after a look."""
    if all(np.isinf(one.low[hour]) for one in looks.primary):
        return (
            f"No estimate yet: {looks.entered[hour].sum():,.0f} shoppers have been observed for "
            f"{rules.horizon_hours:g} hours, and {looks.seen[hour].sum():,.0f} have seen a list."
        )
    found = " ".join(_estimate(one, hour) for one in looks.primary)
    return f"No verdict yet. {found} {_size(looks, hour)}"


def _ratio(looks: Looks, trial: Trial, hour: int) -> str:
    names = [arm.name for arm in trial.arms]
    seen, expected = looks.seen[hour], looks.expected[hour]
    counts = ", ".join(
        f"{name} {found:,.0f} shoppers, expected {should:,.0f}"
        for name, found, should in zip(names, seen, expected, strict=True)
    )
    return (
        f"The sample ratio is wrong: {counts} (p = {looks.ratio_p[hour]:.1g} for any number of looks; the "
        f"limit is {ALPHA}). The comparison says nothing. Find out why lists of one arm are not reported as "
        "shown, such as errors, slow answers or another filter, and start a new experiment."
    )


def _harm(looks: Looks, rules: AnalysisRules, hour: int) -> str:
    harmed = " ".join(
        f"The guardrail {one.metric.name} got worse. {_estimate(one, hour)}"
        for one in looks.guardrails
        if one.worse[hour]
    )
    primary = " ".join(_estimate(one, hour) for one in looks.primary)
    return f"{harmed} The primary metric: {primary} {_size(looks, hour)} All shoppers get the champion again."


def _decision(looks: Looks, rules: AnalysisRules, hour: int) -> str:
    winners = [one for one in looks.primary if one.better[hour]]
    size = _size(looks, hour)
    if winners:
        best = max(winners, key=lambda one: abs(float(one.found.difference[hour])))
        others = " ".join(_estimate(one, hour) for one in looks.primary if one is not best)
        told = f" The other arms: {others}" if others else ""
        return (
            f"{best.arm} wins. {_estimate(best, hour)}{told} {size} Release what {best.arm} shows, or define "
            "the next experiment."
        )
    found = " ".join(
        f"{_estimate(one, hour)}"
        + ("" if one.worse[hour] else f" No difference larger than {rules.minimum_effect:.1%}.")
        for one in looks.primary
    )
    return f"No arm is better than the control. {found} {size} The champion stays."


def _open_end(looks: Looks, rules: AnalysisRules, hour: int) -> str:
    found = " ".join(_estimate(one, hour) for one in looks.primary)
    return (
        f"The planned end is reached without a verdict. {found} {_size(looks, hour)} The champion stays. A "
        f"difference of {rules.minimum_effect:.1%} needs more shoppers: plan the next experiment for longer."
    )


def _estimate(one: MetricSequence, hour: int) -> str:
    """Say in a sentence how an arm stands beside the control."""
    control, arm = float(one.found.control[hour]), float(one.found.arm[hour])
    low, high = float(one.low[hour]), float(one.high[hour])
    if np.isinf(low) or np.isinf(high):
        return f"{one.metric.name} of {one.arm}: no estimate yet."
    if one.better[hour]:
        verb = "is better than the control"
    else:
        verb = "is worse than the control" if one.worse[hour] else "is not surely different from the control"
    return (
        f"{one.metric.name} of {one.arm} {verb}: {number(arm)} beside {number(control)}, "
        f"{relative(arm - control, control)} ({level(one.alpha)} interval for any number of looks: "
        f"{span(low, high, control)})."
    )


def _size(looks: Looks, hour: int) -> str:
    return f"So {looks.entered[hour].sum():,.0f} shoppers say after {hour + 1:,} hours."


def _any(conditions: list[NDArray[np.bool_]], hours: int) -> NDArray[np.bool_]:
    return np.logical_or.reduce(conditions) if conditions else np.zeros(hours, dtype=bool)
