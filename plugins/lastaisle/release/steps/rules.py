"""The file of release rules: which steps a candidate takes, and what each step asks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from lastaisle.baseline.measures import MEASURES
from lastaisle.release.gate import GateRules
from lastaisle.release.guardrails.limits import GuardrailLimits
from lastaisle.yaml_model import Part, YamlModelError, closest, read_model

if TYPE_CHECKING:
    from lastaisle.settings import Settings

#: What services measure, and what each is of.
OF_SERVICES: Final = {
    "errors": "the share of answers that are errors",
    "empty_lists": "the share of lists without an item",
    "latency_p99": "seconds within which 99 of 100 lists are made",
    "overlap": "the share of items that the shown list has as well",
}


class ReleaseRulesError(YamlModelError):
    """A file of release rules that cannot be used."""


class OfflineRules(Part):
    """What the gate asks of the evaluation, beside the settings; a missing key is as in the settings."""

    min_targets: int | None = Field(default=None, ge=1, description="The least targets that judge.")
    margin: float | None = Field(
        default=None, ge=0, le=1, description="The interval of (candidate - champion) lies above minus this."
    )
    tolerance: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="A candidate is surely worse if its interval lies below minus this.",
    )
    anchor_margin: float | None = Field(
        default=None, ge=0, le=1, description="How far the estimate may lie below the anchor's."
    )
    slice_limit: float | None = Field(default=None, ge=0, le=1, description="How far a slice may drop.")
    coverage_floor: float | None = Field(
        default=None, ge=0, le=1, description="The least share of the champion's coverage."
    )
    max_churn: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The share of the champion's lists that a warm start may change.",
    )
    max_quarantined: float | None = Field(
        default=None, ge=0, le=1, description="The share of the rows that may lie in quarantine."
    )

    def over(self, rules: GateRules) -> GateRules:
        """Return the gate's rules with what this part says."""
        return dataclasses.replace(rules, **self.model_dump(exclude_none=True))


def _known_service_metric(name: str) -> str:
    if name not in OF_SERVICES:
        raise ValueError(
            f"there is no metric {name!r}; {closest(name, list(OF_SERVICES), 'the metrics are')}"
        )
    return name


class ServiceRule(Part):
    """A limit of what services measure."""

    metric: Annotated[str, AfterValidator(_known_service_metric)] = Field(
        description="The metric: errors, empty_lists, latency_p99 (seconds), or overlap."
    )
    at_most: float | None = Field(default=None, ge=0, description="The greatest value that keeps the rule.")
    at_least: float | None = Field(default=None, ge=0, description="The least value that keeps the rule.")

    @model_validator(mode="after")
    def _one_limit(self) -> ServiceRule:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("should hold either at_most or at_least")
        return self

    @property
    def threshold(self) -> str:
        """The limit, as a decision table shows it."""
        return f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"

    def keeps(self, value: float) -> bool:
        """Tell whether a value keeps the rule."""
        return value <= self.at_most if self.at_most is not None else value >= (self.at_least or 0.0)


def _known_canary_metric(name: str) -> str:
    known = [*MEASURES, *(one for one in OF_SERVICES if one != "overlap")]
    if name not in known:
        raise ValueError(f"there is no metric {name!r}; {closest(name, known, 'the metrics are')}")
    return name


class CanaryRule(ServiceRule):
    """A limit of a canary: of what services measure, or of its shoppers against those of the control."""

    metric: Annotated[str, AfterValidator(_known_canary_metric)] = Field(
        description="The metric: errors, empty_lists, latency_p99 (seconds), or a measure of guardrails."
    )
    worse_by_at_most: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The whole 95 % interval is at most this share worse than the control.",
    )

    @model_validator(mode="after")
    def _one_limit(self) -> CanaryRule:
        if self.metric in OF_SERVICES:
            if self.worse_by_at_most is not None or (self.at_most is None) == (self.at_least is None):
                raise ValueError("should hold either at_most or at_least")
        elif self.worse_by_at_most is None or self.at_most is not None or self.at_least is not None:
            raise ValueError("should hold worse_by_at_most: the control is the measure of shoppers' actions")
        return self

    @property
    def threshold(self) -> str:
        """The limit, as a decision table shows it."""
        if self.worse_by_at_most is None:
            return super().threshold
        return f"worse by at most {self.worse_by_at_most:.1%}"


class _Step(Part):
    """What every step before the champion has."""

    share: float = Field(
        default=0.1, gt=0, le=1, description="The share of the requests, or of the shoppers."
    )
    min_hours: float = Field(default=1.0, ge=0, le=8760, description="How long the step takes at least.")
    max_hours: float = Field(default=72.0, gt=0, le=8760, description="How long the step takes at most.")
    at_end: Literal["retire", "go_on"] = Field(
        default="retire",
        description="What follows max_hours if no rule is broken, but some lack evidence: retire or go_on.",
    )
    offline: OfflineRules | None = Field(
        default=None, description="What the evaluation has to show before the step."
    )

    @model_validator(mode="after")
    def _hours_fit(self) -> _Step:
        if self.min_hours > self.max_hours:
            raise ValueError(f"min_hours {self.min_hours:g} is more than max_hours {self.max_hours:g}")
        return self


class ShadowStep(_Step):
    """The candidate scores live requests unseen."""

    min_requests: int = Field(default=1000, ge=1, description="The least requests that it has to score.")
    online: list[ServiceRule] = Field(
        default=[
            ServiceRule(metric="errors", at_most=0.01),
            ServiceRule(metric="empty_lists", at_most=0.05),
        ],
        max_length=20,
        description="What services have to measure.",
    )


class CanaryStep(_Step):
    """The candidate answers a share of the shoppers."""

    share: float = Field(default=0.1, gt=0, le=0.5, description="The share of the shoppers whom it answers.")
    min_hours: float = Field(default=24.0, ge=0, le=8760, description="How long the step takes at least.")
    max_hours: float = Field(default=336.0, gt=0, le=8760, description="How long the step takes at most.")
    min_sessions: int = Field(
        default=1000, ge=1, description="The least sessions that have to see its lists."
    )
    online: list[CanaryRule] = Field(
        default=[CanaryRule(metric="conversion", worse_by_at_most=0.05)],
        max_length=20,
        description="What services and shoppers have to show.",
    )


class ChampionStep(Part):
    """The candidate serves everyone."""

    offline: OfflineRules | None = Field(
        default=None, description="What the evaluation has to show before the step."
    )


class Steps(Part):
    """The steps, in their order; a step that is missing is left out."""

    shadow: ShadowStep | None = Field(default=None, description="Score live requests unseen.")
    canary: CanaryStep | None = Field(default=None, description="Answer a share of the shoppers.")
    champion: ChampionStep | None = Field(default=None, description="Serve everyone.")


class ReleaseRules(Part):
    """The rules of releases."""

    whole: ClassVar[str] = "the keys steps and guardrails"

    steps: Steps = Field(default=Steps(), description="The steps of a candidate that the gate passed.")
    guardrails: GuardrailLimits = Field(default=GuardrailLimits(), description="What rolls a champion back.")

    @property
    def first(self) -> Literal["shadow", "canary", "champion"]:
        """The first step after the gate."""
        return "shadow" if self.steps.shadow else "canary" if self.steps.canary else "champion"

    def gate(self, rules: GateRules, step: str | None = None) -> GateRules:
        """Return the gate's rules before a step; default before the first."""
        part: Any = getattr(self.steps, step or self.first)
        return rules if part is None or part.offline is None else part.offline.over(rules)

    def asks_offline(self, step: str) -> bool:
        """Tell whether a step asks anything of the evaluation."""
        part = getattr(self.steps, step)
        return part is not None and part.offline is not None


def release_rules(settings: Settings) -> ReleaseRules:
    """Return the rules of LASTAISLE_RELEASE_RULES; without a file, a candidate becomes champion at once.

    Raises:
        ReleaseRulesError: the file cannot be used.
    """
    path = settings.gate.rules
    return read_model(Path(path), ReleaseRules, ReleaseRulesError)[0] if path else ReleaseRules()
