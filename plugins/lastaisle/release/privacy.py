"""What a version spent of the privacy budget, in its run, and the gate's question whether that is allowed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from lastaisle.errors import RegistryError
from lastaisle.privacy.budget.budget import YEAR, budget_of
from lastaisle.registry.tags import DELTA, EPSILON, MECHANISM, NOT_PRIVATE
from lastaisle.release.gate import Check
from lastaisle.training.online import SHOPPERS
from lastaisle.training.spending import YEAR_METRIC, restore
from models.private.mechanism import Mechanism

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry

RULE: Final = "privacy_budget"
NO_NOISE: Final = "it was trained without noise"


@dataclass(frozen=True)
class VersionPrivacy:
    """The privacy of one version.

    Attributes:
        mechanism: what its training released; None if it had no noise.
        epsilon: of its training alone; None if the version is not private.
        delta: the delta of that epsilon.
        year: epsilon of all private trainings of the year until its release, for the shopper who spends most;
            None before its release, without a bound, and for a version that is not private.
        not_private: why nothing bounds what the version reveals; empty for a private version.
    """

    mechanism: Mechanism | None = None
    epsilon: float | None = None
    delta: float | None = None
    year: float | None = None
    not_private: str = NO_NOISE

    @property
    def is_private(self) -> bool:
        """Whether epsilon bounds what the version reveals."""
        return not self.not_private

    @property
    def words(self) -> str:
        """The privacy in one sentence."""
        if not self.is_private or self.mechanism is None or self.epsilon is None:
            return f"Not private: {self.not_private}."
        year = "" if self.year is None else f"; {self.year:.3g} in a year with all private trainings"
        unit = self.mechanism.unit
        return f"Private: epsilon {self.epsilon:.3g} at delta {self.delta:g} for each {unit}{year}."

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the version in MLflow."""
        if not self.is_private:
            return {"privacy": self.words}
        found = {
            "privacy_epsilon": self.epsilon,
            "privacy_delta": self.delta,
            "privacy_epsilon_year": self.year,
        }
        return {
            "privacy": self.words,
            **{name: f"{number:.6g}" for name, number in found.items() if number is not None},
        }


def recorded_privacy(tags: Mapping[str, str], measured: Mapping[str, float]) -> VersionPrivacy:
    """Return the privacy of a version by the tags and the metrics of its run."""
    if MECHANISM not in tags:
        return VersionPrivacy()
    mechanism = Mechanism.from_dict(json.loads(tags[MECHANISM]))
    if why := tags.get(NOT_PRIVATE):
        return VersionPrivacy(mechanism, not_private=why)
    numbers = float(tags[EPSILON]), float(tags[DELTA]), measured.get(YEAR_METRIC)
    return VersionPrivacy(mechanism, *numbers, not_private="")


def judge_privacy(run_id: str, lake: Lake, registry: Registry) -> Check | None:
    """Ask whether the budget and the settings allow a candidate; None where nobody asks for privacy.

    What the year's trainings spend is logged to the run, and so is why a training with noise is not private.
    """
    why = _why_not_private(run_id, registry)
    if why:
        if MECHANISM in registry.tags(run_id):
            registry.set_tag(run_id, NOT_PRIVATE, why)
        if not registry.privacy.required:
            return None
        return Check(
            RULE,
            passed=False,
            reason=f"The candidate is not private: {why}. LASTAISLE_PRIVACY_REQUIRED refuses such versions: "
            "train from scratch with the hyperparameter epsilon.",
        )
    restore(run_id, lake, registry)
    budget = budget_of(lake, registry.privacy, datetime.now(UTC))
    limit, spent = budget.limit, budget.epsilon
    if math.isfinite(spent):
        registry.log_metrics(run_id, {YEAR_METRIC: spent})
    privacy = recorded_privacy(registry.tags(run_id), registry.metrics(run_id))
    worst = budget.worst
    trainings = 0 if worst is None else worst.in_windows
    said = f"epsilon {spent:.4g}" if math.isfinite(spent) else "all of the delta, so no epsilon bounds it"
    reason = (
        f"{privacy.words} The private trainings of the last {YEAR.days} days spend {said} at delta "
        f"{budget.delta:g} of the shopper who spends most, who was in the windows of {trainings:,} of them."
    )
    value = spent if math.isfinite(spent) else None
    if not limit:
        return Check(RULE, passed=True, reason=f"{reason} No budget is set.", value=value)
    return Check(RULE, spent <= limit, f"{reason} The budget is {limit:g}.", value, f"<= {limit:.4f}")


def _why_not_private(run_id: str, registry: Registry) -> str:
    """Say why nothing bounds what a version reveals; empty if noise bounds it, back to a start from scratch.

    A private training bounds only what it adds. So the versions that it started from have to be private too.
    """
    version, seen = "", set[str]()
    while run_id not in seen:
        seen.add(run_id)
        try:
            tags, plan = registry.tags(run_id), registry.plan_of(run_id)
        except RegistryError:
            return f"it started from version {version}, whose run is gone"
        if MECHANISM not in tags:
            return (
                f"it started from version {version}, which was trained without noise" if version else NO_NOISE
            )
        if SHOPPERS in tags:
            began = f"it started from version {version}, which began" if version else "it began"
            return f"{began} with online updates, which have no noise"
        if plan.warm_start_version is None:
            return ""
        version = plan.warm_start_version
        run_id = plan.warm_start_run_id or registry.find_run_of(version) or ""
        if not run_id:
            return f"it started from version {version}, whose run is gone"
    return f"the versions that it started from lead back to version {version}"
