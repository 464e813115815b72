"""The estimates and intervals of an experiment at the end of each hour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lastaisle.experiments.analysis.roles import GUARDRAIL, PRIMARY, Role, metrics_of
from lastaisle.experiments.metrics import METRICS, Metric
from lastaisle.experiments.statistics.comparison import LEAST_UNITS, Comparison, compare
from lastaisle.experiments.statistics.sample_ratio import always_valid_p, log_evidence
from lastaisle.experiments.statistics.sequences import critical_value, tuned_rho

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lastaisle.experiments.analysis.counts import Counted
    from lastaisle.experiments.traffic import AnalysisRules, Trial

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MetricSequence:
    """One metric of one arm beside the control, hour by hour.

    Attributes:
        metric: the metric.
        role: primary or guardrail.
        arm: the arm.
        found: the estimates.
        alpha: the level of this sequence.
        low: the lower ends of the intervals of the difference.
        high: the upper ends.
    """

    metric: Metric
    role: Role
    arm: str
    found: Comparison
    alpha: float
    low: Floats
    high: Floats

    @property
    def better(self) -> NDArray[np.bool_]:
        """Where the arm is surely better than the control."""
        return self.low > 0 if self.metric.better == "up" else self.high < 0

    @property
    def worse(self) -> NDArray[np.bool_]:
        """Where the arm is surely worse than the control."""
        return self.high < 0 if self.metric.better == "up" else self.low > 0

    def alike(self, minimum_effect: float) -> NDArray[np.bool_]:
        """Where the difference is surely smaller than an effect, relative to the control."""
        limit = minimum_effect * np.abs(self.found.control)
        return (self.low > -limit) & (self.high < limit)


@dataclass(frozen=True)
class Looks:
    """All that an analysis sees, hour by hour. The first axis of each array is the hour.

    Attributes:
        primary: the primary metric of each arm but the control.
        guardrails: the guardrails of each arm but the control.
        rho: the parameter of all sequences.
        entered: the shoppers whose horizon is over, by arm.
        seen: the shoppers with an exposure, by arm.
        expected: how many of `seen` the allocation gives each arm.
        ratio_p: the p-value of the sample ratio for any number of looks.
        switched: the shoppers who saw a second arm.
        differs: the shoppers whose arm is not the arm of their hash.
    """

    primary: tuple[MetricSequence, ...]
    guardrails: tuple[MetricSequence, ...]
    rho: float
    entered: Floats
    seen: Floats
    expected: Floats
    ratio_p: Floats
    switched: NDArray[np.int64]
    differs: NDArray[np.int64]


def look(counted: Counted, trial: Trial, rules: AnalysisRules) -> Looks:
    """Compare the arms of an experiment at the end of each hour.

    The level `alpha` is shared: by the arms beside the control, and for guardrails by the guardrails too. So
    all sequences of the primary metric together, and all of the guardrails together, miss the truth in at
    most `alpha` of all experiments.

    Args:
        counted: the sums of each hour.
        trial: its first arm is the control.
        rules: the metrics, their level and the planned number of shoppers.
    """
    arms = [arm.name for arm in trial.arms]
    roles = metrics_of(rules)
    others, guardrails = max(len(arms) - 1, 1), max(sum(role == GUARDRAIL for role in roles.values()), 1)
    rho = tuned_rho(max(rules.planned_units, 2 * LEAST_UNITS), rules.alpha / others)
    sequences = []
    for name, role in roles.items():
        alpha = rules.alpha / others / (guardrails if role == GUARDRAIL else 1)
        moments = counted.metrics[name].running(0)
        for place, arm in enumerate(arms[1:], 1):
            found = compare(moments[:, :, 0], moments[:, :, place])
            low, high = found.interval(critical_value(found.units, rho, alpha))
            sequences.append(MetricSequence(METRICS[name], role, arm, found, alpha, low, high))
    seen = counted.seen.cumsum(0)
    entered = counted.metrics[rules.primary].count.cumsum(0)
    return Looks(
        primary=tuple(one for one in sequences if one.role == PRIMARY),
        guardrails=tuple(one for one in sequences if one.role == GUARDRAIL),
        rho=rho,
        entered=entered.sum(1),
        seen=seen.sum(1).astype(float),
        expected=(seen.sum(2)[..., None] * counted.shares).sum(1),
        ratio_p=always_valid_p(_evidence(seen, counted.shares)),
        switched=counted.switched.cumsum(),
        differs=counted.differs.cumsum(),
    )


def _evidence(seen: NDArray[np.int64], shares: Floats) -> Floats:
    """Add up the evidence of all strata against the expected shares.

    An arm that has no bucket in a stratum does not count there.
    """
    total = np.zeros(len(seen))
    for at, expected in enumerate(shares):
        there = expected > 0
        if there.sum() > 1:
            total += log_evidence(seen[:, at, there], expected[there])
    return total
