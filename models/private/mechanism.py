"""What a private training released of its shoppers, from which epsilon is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal, get_args

Unit = Literal["shopper", "session"]
"""Whom the privacy protects: all sessions of one shopper, or one session where the shoppers are unknown."""
UNITS: tuple[Unit, ...] = get_args(Unit)


class MechanismError(ValueError):
    """A description of a private training that cannot be true, or cannot be read."""

    exit_code = 2


@dataclass(frozen=True)
class Release:
    """One noisy sum over all units, beside the steps of a training: for example noisy counts of the items.

    Attributes:
        name: what was released.
        noise_multiplier: the standard deviation of the noise, divided by the largest L2 norm of a unit's
            part.
        delta: the probability that the release shows that an item exists which only one unit has. 0 if the
            items of the release do not follow from the data.
    """

    name: str
    noise_multiplier: float
    delta: float = 0.0

    def __post_init__(self) -> None:
        _check("noise_multiplier of a release", self.noise_multiplier, above=0.0)
        _check("delta of a release", self.delta, above=-1e-300, below=1.0)


@dataclass(frozen=True)
class Mechanism:
    """All that one private training released. Two data sets are neighbours if one has one unit more.

    Each step samples each unit with the probability `sampling_rate`, on its own (Poisson sampling). It clips
    the gradient of each unit to `clip`, adds the gradients, and adds normal noise of the standard deviation
    noise_multiplier · clip to each number of the sum (Abadi et al., Deep Learning with Differential Privacy,
    CCS 2016).

    Attributes:
        unit: whom the privacy protects; see UNITS.
        sampling_rate: the probability of a unit to be in a step, above 0 and at most 1.
        noise_multiplier: see above. It counts only if there are steps.
        steps: the steps of gradient descent; 0 for models that only count.
        clip: the largest L2 norm of a unit's gradient.
        shoppers: the number of units that the training read.
        releases: what the training released beside its steps.
    """

    unit: Unit
    sampling_rate: float
    noise_multiplier: float
    steps: int
    clip: float
    shoppers: int
    releases: tuple[Release, ...] = ()

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise MechanismError(f"unit cannot be {self.unit!r}: it is one of {', '.join(UNITS)}")
        if self.steps < 0 or self.shoppers < 0:
            raise MechanismError(f"steps and shoppers cannot be {self.steps} and {self.shoppers}: at least 0")
        if self.steps:
            _check("sampling_rate", self.sampling_rate, above=0.0, below=1.0 + 1e-12)
            _check("noise_multiplier", self.noise_multiplier, above=0.0)
            _check("clip", self.clip, above=0.0)

    @property
    def delta(self) -> float:
        """Return the delta that the releases spend on their own, before any noise is counted."""
        return sum(release.delta for release in self.releases)

    def to_dict(self) -> dict[str, Any]:
        """Return the mechanism as a JSON-serialisable dict."""
        return {**asdict(self), "releases": [asdict(release) for release in self.releases]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Mechanism:
        """Read what `to_dict` returned.

        Raises:
            MechanismError: fields that are missing, unknown, or have impossible values.
        """
        try:
            releases = tuple(Release(**release) for release in values.get("releases", ()))
            return cls(**{**values, "releases": releases})
        except TypeError as error:
            raise MechanismError(f"this describes no private training: {error}") from error


def _check(name: str, value: float, *, above: float, below: float = float("inf")) -> None:
    """Refuse a number that is not finite, or outside its bounds."""
    if not (isfinite(value) and above < value < below):
        raise MechanismError(f"{name} cannot be {value!r}: it is above {max(above, 0):g} and finite")
