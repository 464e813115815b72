"""Windows of sessions in event time, and training on them."""

from lastaisle.training.plan import Champion, StalePlanError, TrainingPlan, plan_window
from lastaisle.training.train import train_candidate
from lastaisle.training.windows import Window, sessions_between

__all__ = [
    "Champion",
    "StalePlanError",
    "TrainingPlan",
    "Window",
    "plan_window",
    "sessions_between",
    "train_candidate",
]
