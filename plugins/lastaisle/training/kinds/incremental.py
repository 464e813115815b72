"""An incremental training: a warm start from the champion on the newest hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastaisle.training.catalogue import read_items
from lastaisle.training.kinds.kind import Trained, WindowKind, WindowLengths, learn_from_scratch
from lastaisle.training.online import load_with_updates
from lastaisle.training.warm_start import MiniBatch, mini_batch
from models.options import TrainingOptions

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import Champion, TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.sessions.windows import SessionsRead
    from lastaisle.settings import Settings
    from models.data.sequences import SessionLog
    from models.options import Progress


class Incremental(WindowKind):
    """A warm start from the champion on the newest hours; without a champion, from scratch on them."""

    name = "incremental"
    starts_warm = True
    correctable = True
    falls_back = True

    def lengths(self, settings: Settings) -> WindowLengths:
        """Return the short window of the settings, and the hours before it that are replayed."""
        return WindowLengths(
            settings.learning.window_hours, settings.learning.half_life_hours, settings.learning.replay_hours
        )

    def learned_log(
        self, plan: TrainingPlan, read: SessionsRead, lake: Lake, registry: Registry
    ) -> SessionLog:
        """Return the new sessions of the window and the sample of older ones; from scratch, the window."""
        if plan.warm_start_version is None:
            return read.log
        return _batch(plan, read, lake, registry.start_of(plan)).log

    def learn(
        self,
        plan: TrainingPlan,
        read: SessionsRead,
        lake: Lake,
        registry: Registry,
        progress: Progress | None,
    ) -> Trained:
        """Train the champion, with its online updates, on all new sessions and a sample of older ones."""
        if plan.warm_start_version is None:
            return learn_from_scratch(plan, read, lake, progress)
        champion = registry.start_of(plan)
        recommender, shoppers_run = load_with_updates(champion, registry, plan.window.end)
        options = TrainingOptions.from_dict(plan.options)
        batch = _batch(plan, read, lake, champion)
        catalogue = read_items(plan, lake, batch.log, recommender)
        report = recommender.warm_start(batch.log, batch.weights, options, progress, catalogue.items)
        learned = (recommender, report, batch.log, batch.replayed)
        return Trained(*learned, read.left_out, shoppers_run, catalogue.left_out)


def _batch(plan: TrainingPlan, read: SessionsRead, lake: Lake, champion: Champion) -> MiniBatch:
    return mini_batch(plan, lake, read.log, champion.window_end, int(plan.options["seed"]))
