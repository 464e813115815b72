"""The policies that are compared: each draws the lists of an hour, and then learns their rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec
import numpy as np
import pyarrow as pa
from mabwiser.mab import MAB, LearningPolicy
from numpy.typing import NDArray
from vowpalwabbit import Workspace

from bandit.worlds import COLUMNS, World
from lastaisle.experiments.bandits.drawing import draw_from
from lastaisle.experiments.bandits.learning import learn
from lastaisle.experiments.bandits.options import ALGORITHMS
from lastaisle.experiments.bandits.policies import policy_of
from lastaisle.experiments.traffic import Bandit

Numbers = NDArray[np.int64]
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)


class Competitor(Protocol):
    """A policy in one world."""

    def draw(self, hour: int) -> Numbers:
        """Return the number of the arm of each list of an hour."""

    def learn(self, hour: int, drawn: Numbers, rewards: Numbers) -> None:
        """Learn the rewards of all lists of an hour."""


class Ours:
    """A bandit as `update_bandits` runs it every hour: the state is computed anew from all lists."""

    def __init__(self, world: World, seed: int, algorithm: str, options: Mapping[str, float]) -> None:
        """Start without lists."""
        self._world = world
        self._chance = np.random.default_rng([seed, 1])
        self._bandit = Bandit(
            algorithm=algorithm,
            options={"horizon_hours": 0.01, **options},
            base=dict.fromkeys(world.arms, 1 / len(world.arms)),
            floor=0.0,
            share=1.0,
            context=COLUMNS if ALGORITHMS[algorithm] else (),
        )
        self._policy = policy_of(self._bandit)
        self._rows: list[pa.Table] = []

    def draw(self, hour: int) -> Numbers:
        """Return the number of the arm of each list of an hour."""
        cells = [self._world.cells[context] for context in self._world.contexts[hour]]
        drawn = [
            draw_from("lists", self._bandit, self._policy, cell, self._chance.bytes(12).hex()).arm
            for cell in cells
        ]
        return np.array([self._world.arms.index(arm) for arm in drawn])

    def learn(self, hour: int, drawn: Numbers, rewards: Numbers) -> None:
        """Learn the rewards of all lists of an hour."""
        moments = pa.array([_START + hour * _HOUR] * len(drawn), pa.timestamp("us", tz="UTC"))
        columns = {
            "shown_at": moments,
            "arm": np.array(self._world.arms)[drawn],
            "context": np.array(self._world.cells)[self._world.contexts[hour]],
            "reward": rewards,
            "propensity": np.ones(len(drawn)),
        }
        self._rows.append(pa.table(columns))
        posterior = learn(self._bandit, pa.concat_tables(self._rows), _START + (hour + 1) * _HOUR)
        self._bandit = msgspec.structs.replace(self._bandit, posterior=posterior)
        self._policy = policy_of(self._bandit)


class VowpalWabbit:
    """Vowpal Wabbit's contextual bandit, with the interactions of context and arm."""

    def __init__(self, world: World, seed: int, exploration: str) -> None:
        """Start an untrained model."""
        self._world = world
        self._chance = np.random.default_rng([seed, 2])
        self._model = Workspace(f"--cb_explore_adf {exploration} -q SA --random_seed {seed} --quiet")
        self._shared = [
            "shared |S "
            + " ".join(f"{name}={value}" for name, value in zip(COLUMNS, cell.split("."), strict=True))
            for cell in world.cells
        ]
        self._actions = [f"|A arm={arm}" for arm in world.arms]
        self._probabilities = np.zeros(0)

    def draw(self, hour: int) -> Numbers:
        """Return the number of the arm of each list of an hour."""
        contexts = self._world.contexts[hour]
        chances = np.array([self._model.predict([shared, *self._actions]) for shared in self._shared])
        chances /= chances.sum(axis=1, keepdims=True)
        sums = np.cumsum(chances[contexts], axis=1)
        drawn = (self._chance.random((len(contexts), 1)) >= sums).sum(axis=1).clip(0, len(self._actions) - 1)
        self._probabilities = chances[contexts, drawn]
        return drawn

    def learn(self, hour: int, drawn: Numbers, rewards: Numbers) -> None:
        """Learn the rewards of all lists of an hour, one after the other."""
        for context, arm, reward, probability in zip(
            self._world.contexts[hour], drawn, rewards, self._probabilities, strict=True
        ):
            actions = list(self._actions)
            actions[arm] = f"0:{1 - reward}:{probability:.6f} {actions[arm]}"
            self._model.learn([self._shared[context], *actions])


class MabWiser:
    """MABWiser's LinTS over the same one-hot features."""

    def __init__(self, world: World, seed: int, alpha: float) -> None:
        """Start a model without lists."""
        self._world = world
        self._chance = np.random.default_rng([seed, 3])
        self._model = MAB(list(range(len(world.arms))), LearningPolicy.LinTS(alpha=alpha), seed=seed)
        values = [cell.split(".") for cell in world.cells]
        levels = [sorted({row[column] for row in values}) for column in range(len(COLUMNS))]
        self._features = np.array(
            [
                [1.0] + [float(row[at] == level) for at in range(len(COLUMNS)) for level in levels[at]]
                for row in values
            ]
        )
        self._has_learned = False

    def draw(self, hour: int) -> Numbers:
        """Return the number of the arm of each list of an hour."""
        contexts = self._world.contexts[hour]
        if not self._has_learned:
            return self._chance.integers(len(self._world.arms), size=len(contexts))
        return np.array(self._model.predict(self._features[contexts]))

    def learn(self, hour: int, drawn: Numbers, rewards: Numbers) -> None:
        """Learn the rewards of all lists of an hour."""
        fit = self._model.partial_fit if self._has_learned else self._model.fit
        fit(drawn, rewards, self._features[self._world.contexts[hour]])
        self._has_learned = True


#: Greedy is the linear model without exploration: the arm of the highest mean.
POLICIES: Final[Mapping[str, Callable[[World, int], Competitor]]] = {
    **{
        name: lambda world, seed, name=name: Ours(world, seed, name, {})  # type: ignore[misc]
        for name in ALGORITHMS
    },
    "greedy": lambda world, seed: Ours(world, seed, "linear_ucb", {"exploration": 0.01}),
    "vw_regcb": lambda world, seed: VowpalWabbit(world, seed, "--regcb"),
    "vw_squarecb": lambda world, seed: VowpalWabbit(world, seed, "--squarecb"),
    "mabwiser_lints": lambda world, seed: MabWiser(world, seed, 1.0),
    "mabwiser_lints_0.3": lambda world, seed: MabWiser(world, seed, 0.3),
}
