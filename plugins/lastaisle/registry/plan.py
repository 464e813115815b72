"""A training as it was planned, and the version that serves: a small JSON of references."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import TypeAdapter

from lastaisle.sessions.windows import Window

Kind = Literal["incremental", "full", "refresh", "federated"]


@dataclass(frozen=True)
class Champion:
    """The version that serves now.

    Attributes:
        version: its number in the registry.
        run_id: the MLflow run that trained it.
        run_key: the training it came from.
        window_end: the moment up to which it has learned.
        architecture: which recommender it is.
        options: its hyperparameters.
        warm_start_version: the version that its training started from; None = from scratch.
        warm_start_run_id: the run of that version; see TrainingPlan.
        half_learned_until: see TrainingPlan.
    """

    version: str
    run_id: str
    run_key: str
    window_end: datetime
    architecture: str
    options: Mapping[str, Any]
    warm_start_version: str | None = None
    warm_start_run_id: str | None = None
    half_learned_until: datetime | None = None


@dataclass(frozen=True)
class TrainingPlan:
    """One training, named by its run_key: two plans from the same data are the same training.

    Attributes:
        run_key: names the training; it begins with the kind. The rest is a hash of window, options, the run
            that the training starts from and the rows of `events` and of the catalogue that it reads, or of
            the abandoned checkouts that it is for.
        kind: incremental (warm start from the champion, if there is one), full (from scratch), refresh (a
            warm start for abandoned checkouts) or federated (from scratch, by silos); see
            lastaisle.training.kinds.
        model_name: name of the registered model.
        architecture: which recommender learns; see models.by_name.MODEL_NAMES.
        window: the sessions that train.
        holdout_end: sessions from the window's end to here evaluate.
        lake_versions: table name to the version that is read.
        options: hyperparameters, as of models.options.TrainingOptions.
        warm_start_version: the champion's version, for a warm start; None = from scratch.
        bursts: of a refresh, the bursts of abandoned checkouts that it is for. Plans of 0.1 before the
            refresh have none.
        replay_hours: how far before the window's start a warm start replays older sessions from. Plans from
            before this setting have 0.
        unseen_items: at most how many items for sale without an event join the vocabulary. Older plans, which
            read no catalogue, have 0.
        federation: of a federated training, what the silos agree on beside the hyperparameters.
    """

    run_key: str
    kind: Kind
    model_name: str
    architecture: str
    window: Window
    holdout_end: datetime
    lake_versions: Mapping[str, int]
    options: Mapping[str, Any]
    warm_start_version: str | None = None
    bursts: tuple[str, ...] = ()
    replay_hours: float = 0.0
    warm_start_run_id: str | None = None
    half_learned_until: datetime | None = None
    unseen_items: int = 0
    federation: Mapping[str, Any] | None = None

    @property
    def is_private(self) -> bool:
        """Whether the training learns with secret noise, which bounds what it reveals of a shopper."""
        return self.options.get("epsilon") is not None

    @property
    def run_name(self) -> str:
        """The name that people see: the newest partition of its data, and the kind unless it is incremental.

        For example "2025-10-09", "2025-10-09T14" (an hour), "full to 2025-10-09", "refresh 2025-10-09T14:23".
        """
        data = last_partition(self.holdout_end)
        return {
            "incremental": data,
            "full": f"full to {data}",
            "refresh": f"refresh {data}",
            "federated": f"federated to {data}",
        }[self.kind]

    def to_json(self) -> str:
        """Write as JSON, times in ISO 8601."""
        return json.dumps(dataclasses.asdict(self), default=datetime.isoformat, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TrainingPlan:
        """Read a plan that `to_json` wrote, of this release or an earlier one."""
        plan = _PLANS.validate_json(text)
        if plan.kind == "refresh" and plan.half_learned_until is None:  # an older plan
            return dataclasses.replace(plan, half_learned_until=plan.holdout_end)
        return plan


_PLANS = TypeAdapter(TrainingPlan)


def last_partition(end: datetime) -> str:
    """Return the day or the hour that ends at a moment; the moment itself if neither ends then."""
    end = end.astimezone(UTC)
    before = end - timedelta(microseconds=1)
    if end == end.replace(hour=0, minute=0, second=0, microsecond=0):
        return f"{before:%Y-%m-%d}"
    if end == end.replace(minute=0, second=0, microsecond=0):
        return f"{before:%Y-%m-%dT%H}"
    return f"{end:%Y-%m-%dT%H:%M}"


def kind_of(run_key: str) -> str:
    """Return the kind of the training that a run_key names."""
    return run_key.partition("-")[0]
