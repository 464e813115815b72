"""What private trainings spend together, and how much noise a budget asks for. Computed by dp-accounting.

Two accountants stand beside each other. Both are upper bounds of epsilon: privacy loss distributions (PLD;
Koskela et al., Computing Tight Differential Privacy Guarantees Using FFT, AISTATS 2020), which is tighter,
and Rényi differential privacy (RDP; Mironov 2017), which is older and faster.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from models.private.mechanism import Mechanism, MechanismError, Release

if TYPE_CHECKING:
    from dp_accounting import DpEvent, PrivacyAccountant

# The step of the grid on which losses are rounded up: a coarser grid gives a larger epsilon, never a smaller.
GRID = 1e-3
MOST_NOISE = 1e5
RELATIVE_TOLERANCE = 1e-3  # of the noise: it is at most so much larger than needed


@dataclass(frozen=True)
class Spent:
    """Epsilon of some trainings together, at one delta, by each accountant. Both are upper bounds.

    Attributes:
        delta: the delta of both.
        pld: by privacy loss distributions.
        rdp: by Rényi differential privacy.
    """

    delta: float
    pld: float
    rdp: float

    @property
    def epsilon(self) -> float:
        """Return the smaller of the two bounds, which is the one that counts."""
        return min(self.pld, self.rdp)


def epsilon_of(mechanisms: Sequence[Mechanism], delta: float) -> Spent:
    """Return what trainings spend of one shopper who was in all of them.

    Trainings that read different shoppers spend in parallel: give only those that one shopper was in.

    Args:
        mechanisms: the trainings; none spend 0.
        delta: the delta of all of them together, above 0 and below 1.

    Raises:
        MechanismError: a delta outside its bounds, or not above the delta that the releases spend alone.
    """
    left = _left(mechanisms, delta)
    if not mechanisms:
        return Spent(delta, 0.0, 0.0)
    event = _event(mechanisms)
    return Spent(delta, *(_epsilon(make, event, left) for make in (_pld, _rdp)))


def noise_for(
    epsilon: float, delta: float, sampling_rate: float, steps: int, releases: Sequence[Release] = ()
) -> float:
    """Return the least noise multiplier of the steps with which a training stays within epsilon and delta.

    Args:
        epsilon: above 0; what the steps and the releases may spend together.
        delta: above 0 and below 1.
        sampling_rate: see Mechanism.
        steps: at least 1.
        releases: what the training releases beside its steps.

    Raises:
        MechanismError: the releases alone spend epsilon or delta already.
    """
    mechanism = Mechanism("session", sampling_rate, MOST_NOISE, steps, 1.0, 0, tuple(releases))
    return _least_noise(lambda noise: replace(mechanism, noise_multiplier=noise), epsilon, delta)


def release_noise_for(
    epsilon: float, delta: float, own_delta: float = 0.0, beside: Sequence[Release] = ()
) -> float:
    """Return the least noise multiplier of one release that spends epsilon and delta.

    Args:
        epsilon: above 0.
        delta: above 0 and below 1.
        own_delta: the delta that the release spends on its own; see Release.
        beside: what else is released, within the same epsilon and delta.

    Raises:
        MechanismError: the other releases alone spend epsilon or delta already.
    """

    def with_noise(noise: float) -> Mechanism:
        return Mechanism("session", 1.0, 1.0, 0, 1.0, 0, (*beside, Release("sum", noise, own_delta)))

    return _least_noise(with_noise, epsilon, delta)


def _least_noise(with_noise: Callable[[float], Mechanism], epsilon: float, delta: float) -> float:
    """Return the least noise whose mechanism spends at most epsilon at this delta.

    RDP is fast, and its noise is enough. So PLD, which is slow where the noise is small, only tries less.

    Raises:
        MechanismError: no noise is enough.
    """
    if not epsilon > 0.0:
        raise MechanismError(f"epsilon cannot be {epsilon!r}: it is above 0")

    def spends(make: Callable[[], PrivacyAccountant], noise: float) -> float:
        mechanisms = [with_noise(noise)]
        return _epsilon(make, _event(mechanisms), _left(mechanisms, delta))

    if spends(_pld, MOST_NOISE) > epsilon:
        raise MechanismError(
            f"epsilon {epsilon:g} at delta {delta:g} is spent before the first step: the releases of the "
            "training, such as its noisy counts, take all of it; allow a larger epsilon, or give them more "
            "noise"
        )
    enough = _bisected(lambda noise: spends(_quick_rdp, noise) <= epsilon, 1e-2, MOST_NOISE, 1e-3)
    least = enough
    while least > 1e-2 and spends(_pld, least * 0.9) <= epsilon:
        least *= 0.9
    return _bisected(lambda noise: spends(_pld, noise) <= epsilon, least * 0.9, least, RELATIVE_TOLERANCE)


def _bisected(is_enough: Callable[[float], bool], low: float, high: float, tolerance: float) -> float:
    """Return a number that is enough, at most `tolerance` above the least, between `low` and `high`."""
    while high / low > 1.0 + tolerance:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _event(mechanisms: Sequence[Mechanism]) -> DpEvent:
    """Return everything that the mechanisms released, as dp-accounting names it."""
    import dp_accounting as dp  # here: to read a mechanism must stay light

    events: dict[Any, int] = {}
    for mechanism in mechanisms:
        if mechanism.steps:
            step: DpEvent = dp.GaussianDpEvent(mechanism.noise_multiplier)
            if mechanism.sampling_rate < 1.0:
                step = dp.PoissonSampledDpEvent(mechanism.sampling_rate, step)
            events[step] = events.get(step, 0) + mechanism.steps
        for release in mechanism.releases:
            noisy = dp.GaussianDpEvent(release.noise_multiplier)
            events[noisy] = events.get(noisy, 0) + 1
    return dp.ComposedDpEvent([dp.SelfComposedDpEvent(event, count) for event, count in events.items()])


def _left(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Return the delta that is left for the noise, after what the releases spend on their own."""
    if not 0.0 < delta < 1.0:
        raise MechanismError(f"delta cannot be {delta!r}: it is above 0 and below 1")
    spent = sum(mechanism.delta for mechanism in mechanisms)
    if spent >= delta:
        raise MechanismError(
            f"delta {delta:g} is spent: the releases of the trainings spend {spent:g} of it on their own"
        )
    return delta - spent


def _epsilon(make: Callable[[], PrivacyAccountant], event: DpEvent, delta: float) -> float:
    with without_notes():
        return float(make().compose(event).get_epsilon(delta))


@contextmanager
def without_notes() -> Iterator[None]:
    """Leave out dp-accounting's notes on orders that it cannot compute: it leaves these orders out."""
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    try:
        yield
    finally:
        absl.setLevel(level)


def _pld() -> PrivacyAccountant:
    from dp_accounting.pld import PLDAccountant

    return PLDAccountant(value_discretization_interval=GRID)


def _rdp() -> PrivacyAccountant:
    from dp_accounting.rdp import RdpAccountant

    return RdpAccountant()


def _quick_rdp() -> PrivacyAccountant:
    """Return an accountant of few and whole orders: a bound that is less tight, and fast for every noise."""
    from dp_accounting.rdp import RdpAccountant

    return RdpAccountant(orders=[2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024])
