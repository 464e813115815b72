"""A full training: from scratch on a long window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastaisle.training.kinds.kind import Trained, WindowKind, WindowLengths, learn_from_scratch

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.sessions.windows import SessionsRead
    from lastaisle.settings import Settings
    from models.options import Progress


class Full(WindowKind):
    """From scratch on a long window.

    It is not repeated when an hour of its events is corrected: the hour is too small a part of the window.
    """

    name = "full"
    starts_warm = False

    def lengths(self, settings: Settings) -> WindowLengths:
        """Return the long window of the settings."""
        return WindowLengths(settings.learning.full_window_hours, settings.learning.full_half_life_hours)

    def learn(
        self,
        plan: TrainingPlan,
        read: SessionsRead,
        lake: Lake,
        registry: Registry,
        progress: Progress | None,
    ) -> Trained:
        """Train a new model."""
        return learn_from_scratch(plan, read, lake, progress)
