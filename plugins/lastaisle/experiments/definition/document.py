"""What the file of an experiment or a bandit may say."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints

from lastaisle.experiments.assignment import BUCKETS
from lastaisle.experiments.traffic import Reward
from lastaisle.yaml_model import Moment, Part, all_different

NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,23}$"
CHAMPION: Final = "champion"
MOST_ARMS: Final = 20
_NO_CONTROLS: Final = r"^[^\x00-\x1f\x7f]*$"

Name = Annotated[str, StringConstraints(pattern=NAME)]
Version = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,99}$")]
Placement = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_NO_CONTROLS)]
Line = Annotated[str, StringConstraints(max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1)]
Column = Literal["device_type", "country", "region"]
DeviceType = Literal["mobile", "tablet", "desktop", "tv", "other"]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$")]


def _in_reach(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 9000:
        raise ValueError(f"should be a year from 1970 to 9000, received {moment.year}")
    return moment


Time = Annotated[Moment, AfterValidator(_in_reach)]


class ListPart(Part):
    """Which version makes a list, and of which kind the list is."""

    version: Version | None = Field(None, description="The number of the version that makes the lists.")
    alias: Alias | None = Field(
        None,
        description="The alias of that version. The champion is followed when it moves; the version of "
        "another alias is fixed when the definition is applied. Default: champion.",
    )
    policy: Literal["model", "popular"] = Field("model", description="popular is the list of popular items.")

    def follows_champion(self) -> bool:
        """Tell whether the champion makes the lists, whichever version that is."""
        return self.version is None and self.alias in (None, CHAMPION)


class MixPart(ListPart):
    """Positions of the list that another list fills."""

    positions: list[Annotated[int, Field(ge=1, le=1000)]] = Field(
        min_length=1, max_length=100, description="The positions, 1 at the top."
    )


class ArmPart(ListPart):
    """One arm: how its lists are made."""

    name: Name = Field(description="The name: small letters, digits, - and _.")
    exclude_seen: bool | None = Field(
        None,
        description="Whether lists leave out the session's own items. Default: as the version was judged.",
    )
    rules: bool = Field(True, description="Whether the shop's rules pin and promote items.")
    mix: MixPart | None = Field(None, description="Positions that another list fills.")
    allow_refused: bool = Field(
        False, description="Whether the version may be one that the gate refused or a rollback took back."
    )


class PhasePart(Part):
    """A time with one allocation."""

    start: Time | None = Field(
        None, description="When the phase begins, with its zone. The first phase begins with the experiment."
    )
    allocation: dict[Name, Share] = Field(
        min_length=1, description="The share of each arm, of all shoppers of the experiment; at most 1."
    )


class TargetingPart(Part):
    """Which shoppers take part, by columns of context that they agreed to share."""

    device_type: Annotated[list[DeviceType], AfterValidator(all_different)] | None = Field(
        None, min_length=1, description="The types of devices."
    )
    country: Annotated[list[Country], AfterValidator(all_different)] | None = Field(
        None, min_length=1, max_length=300, description="The countries, by ISO 3166-1, in two letters."
    )
    region: Annotated[list[Region], AfterValidator(all_different)] | None = Field(
        None, min_length=1, max_length=1000, description="The regions, by ISO 3166-2, such as DE-BY."
    )


class AnalysisPart(Part):
    """How the experiment is judged. Nothing of it changes after the start."""

    primary: str = Field(description="The metric that decides.")
    guardrails: Annotated[list[str], AfterValidator(all_different)] = Field(
        [], max_length=20, description="The metrics that stop the experiment when they get worse."
    )
    minimum_effect: float = Field(
        gt=0,
        le=10,
        description="The least change of the primary metric that matters, relative to the first arm: 0.03 is "
        "3 %.",
    )
    alpha: float = Field(
        0.05, gt=0, le=0.5, description="The share of experiments without a difference that may find one."
    )
    power: float = Field(
        0.8, ge=0.5, lt=1, description="The share of experiments with the least change that should find it."
    )
    horizon_hours: float = Field(
        24.0, gt=0, le=720, description="How long after the first exposure the events of a shopper count."
    )
    cuped_days: int = Field(
        14, ge=0, le=90, description="How many days before the first exposure tell what a shopper did before."
    )
    planned_units: int | None = Field(
        None,
        ge=100,
        le=10_000_000_000,
        description="The shoppers of all arms for which the intervals are narrowest. Default: as many as "
        "the least change needs.",
    )


class BanditPart(Part):
    """How a bandit draws the arm of each list."""

    algorithm: str = Field(description="The policy that learns.")
    options: dict[str, float] = Field({}, max_length=20, description="The options of the algorithm.")
    base: dict[Name, Share] | None = Field(
        None,
        min_length=1,
        description="The probability of each arm while the policy only observes; 1 together. Default: equal.",
    )
    floor: float = Field(0.05, ge=0, le=0.5, description="The least probability of each arm.")
    context: Annotated[list[Column], AfterValidator(all_different)] = Field(
        [], description="The columns of context that the policy reads."
    )
    reward: Reward = Field("clicked", description="What an item of a list has to get for a reward.")


class DefinitionDocument(Part):
    """The definition of an experiment or a bandit."""

    whole: ClassVar[str] = "the keys of an experiment: at least name, arms and analysis"
    name: Name = Field(description="The name, as exposures carry it. A name is used once.")
    kind: Literal["experiment", "bandit"] = Field(
        "experiment", description="A shopper keeps the arm of an experiment; a bandit draws an arm each time."
    )
    owner: Line = Field("", description="The people to ask.")
    description: Line = Field("", description="What the experiment is about.")
    arms: list[ArmPart] = Field(
        min_length=2, max_length=MOST_ARMS, description="The arms; the first is the control."
    )
    allocation: dict[Name, Share] | None = Field(
        None, min_length=1, description="The share of each arm, where there is one phase. Default: equal."
    )
    phases: list[PhasePart] | None = Field(
        None, min_length=1, max_length=50, description="The phases, in place of allocation."
    )
    layer: Name = Field(
        "checkout", description="Experiments of one layer share its shoppers; their buckets differ."
    )
    buckets: list[Annotated[int, Field(ge=0, le=BUCKETS)]] = Field(
        [0, BUCKETS],
        min_length=2,
        max_length=2,
        description="The first bucket of the layer's 10,000 that takes part, and the bucket after the last.",
    )
    placements: Annotated[list[Placement], AfterValidator(all_different)] | None = Field(
        None, min_length=1, max_length=100, description="Where its lists are shown. Default: everywhere."
    )
    targeting: TargetingPart | None = Field(None, description="Which shoppers take part. Default: all.")
    analysis: AnalysisPart | None = Field(
        None, description="How an experiment is judged; a bandit has a reward instead."
    )
    bandit: BanditPart | None = Field(None, description="How a bandit draws.")
    start: Time | None = Field(
        None, description="When it begins, with its zone. Default: when the definition is applied."
    )
    stop: Time | None = Field(None, description="When it ends, with its zone. Default: open.")
    kill: bool = Field(False, description="true stops it with the next run of apply, for good.")
