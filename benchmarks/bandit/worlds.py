"""Simulated shoppers with a known truth: what each arm would earn from each list, for all policies alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

DEVICES: Final = ("mobile", "desktop", "tablet")
COUNTRIES: Final = ("DE", "FR", "IT", "PL", "SE")
COLUMNS: Final = ("device_type", "country")
_DEVICE_SHARES: Final = (0.6, 0.3, 0.1)
_COUNTRY_SHARES: Final = (0.4, 0.25, 0.15, 0.1, 0.1)
_BASE_ODDS: Final = -2.4  # a rate of about 8 %

Floats = NDArray[np.float64]


class Size(NamedTuple):
    """How much is simulated.

    Attributes:
        hours: the hours.
        lists: the lists of an hour.
        arms: the arms.
    """

    hours: int
    lists: int
    arms: int


@dataclass(frozen=True)
class World:
    """One stream of lists; the same for every policy.

    Attributes:
        arms: the names of the arms.
        contexts: [hours, lists] the number of the context of each list.
        cells: the context of each number, as its text.
        rates: [hours, contexts, arms] the true probability of a reward.
        chances: [hours, lists] a number from 0 to 1; a list has a reward if it lies below the arm's rate.
    """

    arms: tuple[str, ...]
    contexts: NDArray[np.int64]
    cells: tuple[str, ...]
    rates: Floats
    chances: Floats

    def regret(self, hour: int, drawn: NDArray[np.int64]) -> float:
        """Return the rewards that the drawn arms of an hour lack on average, beside the best arms."""
        rates = self.rates[hour, self.contexts[hour]]
        return float((rates.max(axis=1) - rates[np.arange(len(drawn)), drawn]).sum())

    def rewards(self, hour: int, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return 1 for each list of an hour that has a reward with its drawn arm, else 0."""
        rates = self.rates[hour, self.contexts[hour], drawn]
        return (self.chances[hour] < rates).astype(np.int64)


def make_world(kind: str, seed: int, size: Size) -> World:
    """Return a world: `stationary`, or `drifting`, where the arms' effects move, and change places twice.

    The log odds of a reward have parts of the shop, of the context, of the arm, and of both together.
    """
    hours, lists, arms = size
    chance = np.random.default_rng([seed, {"stationary": 0, "drifting": 1}[kind]])
    cells = tuple(f"{device}.{country}" for device in DEVICES for country in COUNTRIES)
    shares = np.outer(_DEVICE_SHARES, _COUNTRY_SHARES).ravel()
    contexts = chance.choice(len(cells), size=(hours, lists), p=shares)
    odds = np.full((hours, len(cells), arms), _BASE_ODDS) + chance.normal(0, 0.3, (1, len(cells), 1))
    by_device = np.repeat(chance.normal(0, 0.4, (len(DEVICES), arms)), len(COUNTRIES), axis=0)
    by_country = np.tile(chance.normal(0, 0.2, (len(COUNTRIES), arms)), (len(DEVICES), 1))
    of_arm = np.tile(chance.normal(0, 0.3, arms), (hours, 1))
    if kind == "drifting":
        of_arm += np.cumsum(chance.normal(0, 0.6 / np.sqrt(hours), (hours, arms)), axis=0)
        for change in (hours // 3, 2 * hours // 3):
            of_arm[change:] = of_arm[change:][:, np.roll(np.arange(arms), 1)]
    odds += by_device + by_country + of_arm[:, None, :]
    names = tuple(f"arm-{arm}" for arm in range(arms))
    return World(names, contexts, cells, 1 / (1 + np.exp(-odds)), chance.random((hours, lists)))
