"""A bandit in a running service: it draws arms, and learns between two updates from what the service sees."""

from __future__ import annotations

import time
from collections.abc import Callable

from lastaisle.experiments.bandits.context import cell_of
from lastaisle.experiments.bandits.drawing import Drawn, bandit_of, draw_from
from lastaisle.experiments.bandits.options import option
from lastaisle.experiments.bandits.policies import Policy, policy_of, posterior_of
from lastaisle.experiments.traffic import Trial


class LiveBandit:
    """A bandit as one row of `traffic` describes it, and the lists since.

    What it learns is lost with it. The next update of the bandit computes it from outcomes.
    It is not safe for threads: use it in one.
    """

    def __init__(self, trial: Trial, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare the bandit.

        Args:
            trial: the bandit.
            clock: returns seconds.

        Raises:
            ValueError: the trial is no bandit, or its posterior cannot be read.
        """
        self.trial = trial
        self._bandit = bandit_of(trial)
        self._known = posterior_of(self._bandit)
        self._policy = policy_of(self._bandit)
        self._counts = {arm: dict(cells) for arm, cells in self._known.counts.items()}
        self._clock = clock
        self._pause = option(self._bandit, "live_seconds")
        self._prepared_at = clock()
        self._has_news = False

    def draw(self, context: str, digits: str) -> Drawn:
        """Draw the arm of a list, and count the list.

        Args:
            context: the text of the context, see `context_text`.
            digits: the random hexadecimal digits of the list's id.
        """
        if self._has_news and self._clock() - self._prepared_at >= self._pause:
            self._policy = Policy(self._bandit, self._counts, self._known.levels)
            self._prepared_at, self._has_news = self._clock(), False
        drawn = draw_from(self.trial.name, self._bandit, self._policy, context, digits)
        self._add(drawn.arm, context, 1.0, 0.0)
        return drawn

    def note(self, arm: str, context: str, reward: float = 1.0) -> None:
        """Count the reward of a list that this service, or another worker of it, drew.

        A list counts from the moment at which it is drawn. So only rewards are told, and each list's once.
        """
        self._add(arm, context, 0.0, reward)

    def _add(self, arm: str, context: str, lists: float, rewards: float) -> None:
        if not self._pause or arm not in self._bandit.base:
            return
        cell = cell_of(context, self._known.levels)
        before = self._counts.setdefault(arm, {}).get(cell, (0.0, 0.0))
        self._counts[arm][cell] = (before[0] + lists, before[1] + rewards)
        self._has_news = True
