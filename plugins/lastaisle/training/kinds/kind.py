"""What every kind of training has to say of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from lastaisle.registry.plan import Kind, TrainingPlan
from lastaisle.sessions.windows import SessionsRead, training_sessions
from lastaisle.training.catalogue import read_items
from models.by_name import create
from models.data.sequences import decay_weights
from models.options import TrainingOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings
    from models.data.sequences import SessionLog
    from models.options import Progress, TrainingReport
    from models.recommender import Recommender

ReadT = TypeVar("ReadT", bound=SessionsRead)


@dataclass(frozen=True)
class Trained:
    """A trained model and its training data.

    Attributes:
        recommender: the model.
        report: what its training measured.
        log: the sessions it learned from.
        replayed: how many of them are older sessions, against forgetting.
        left_out: reason to the number of sessions that were left out.
        shoppers_run: the run that holds the shoppers with which the model's online updates begin; see
            lastaisle.training.online.load_with_updates. None = there is none.
        items_left_out: the number of items for sale that stay out of the vocabulary; see
            lastaisle.training.catalogue.
        rounds: of a federated training, what each round did; see models.federated.rounds.Round.
    """

    recommender: Recommender
    report: TrainingReport
    log: SessionLog
    replayed: int
    left_out: Mapping[str, int]
    shoppers_run: str | None = None
    items_left_out: int = 0
    rounds: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class WindowLengths:
    """How many hours a training reaches back.

    Attributes:
        window_hours: length of the window.
        half_life_hours: age, counted from the window's end, at which a session weighs one half.
        replay_hours: how far before the window older sessions are replayed from.
    """

    window_hours: float
    half_life_hours: float
    replay_hours: float = 0.0


class TrainingKind(ABC, Generic[ReadT]):
    """A kind of training: its sessions, its way to learn, its judges and its description.

    Attributes:
        name: the kind in plans, in tags and in the table `training_runs`.
        starts_warm: whether a training of this kind starts from the champion's weights, if there is one.
        corrects_base: when events are corrected, whether the training to repeat is that of the version that
            this one started from.
        correctable: whether a training of this kind is repeated when its events are corrected.
        falls_back: whether refusals of this kind in a row make a full training due.
        learns_own_sessions: whether it learns sessions of the lake of this installation.
    """

    name: ClassVar[Kind]
    starts_warm: ClassVar[bool]
    corrects_base: ClassVar[bool] = False
    correctable: ClassVar[bool] = False
    falls_back: ClassVar[bool] = False
    learns_own_sessions: ClassVar[bool] = True

    @abstractmethod
    def read(self, plan: TrainingPlan, lake: Lake) -> ReadT:
        """Read the sessions that may be learned from."""

    @abstractmethod
    def learn(
        self, plan: TrainingPlan, read: ReadT, lake: Lake, registry: Registry, progress: Progress | None
    ) -> Trained:
        """Train a model on the sessions that `read` returned."""

    def learned_log(self, plan: TrainingPlan, read: ReadT, lake: Lake, registry: Registry) -> SessionLog:
        """Return the sessions that `learn` learns, without learning them."""
        return read.log

    def describe(self, plan: TrainingPlan) -> str:
        """Return how a training of this kind began, in words for the model card."""
        if plan.warm_start_version is None:
            return f"{self.name}: from scratch"
        return f"{self.name}: from the weights of version {plan.warm_start_version} on"

    def log(self, registry: Registry, run_id: str, read: ReadT) -> None:
        """Log to the MLflow run what only this kind measures."""

    def judging_slices(self, plan: TrainingPlan, lake: Lake, log: SessionLog) -> dict[str, NDArray[np.bool_]]:
        """Return the groups of judging sessions that only this kind measures.

        Args:
            plan: the training.
            lake: where the tables are.
            log: the judging sessions.

        Returns:
            Name of the slice to bool [n_sessions]. The report leaves out a slice without targets.
        """
        return {}


class WindowKind(TrainingKind[SessionsRead]):
    """A kind of training that learns a window of hours.

    Attributes:
        reads_catalogue: whether every model of this kind reads the catalogue.
    """

    reads_catalogue: ClassVar[bool] = False

    @abstractmethod
    def lengths(self, settings: Settings) -> WindowLengths:
        """Return how far back a training of this kind reaches."""

    def architecture(self, asked: str | None, settings: Settings) -> str | None:
        """Return the model that learns, as it was asked for; None = as in `choose_learner`."""
        return asked

    def extra(self, settings: Settings, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what else decides a training of this kind, as plain values for the plan.

        Args:
            settings: of this installation.
            options: the hyperparameters of the training.
        """
        return None

    def read(self, plan: TrainingPlan, lake: Lake) -> SessionsRead:
        """Read the sessions that ended in the window."""
        return training_sessions(lake, plan.window, plan.holdout_end, plan.lake_versions)


def learn_from_scratch(
    plan: TrainingPlan, read: SessionsRead, lake: Lake, progress: Progress | None
) -> Trained:
    """Train a new model on all sessions that were read; their weight fades with their age."""
    options = TrainingOptions.from_dict(plan.options)
    recommender = create(plan.architecture, options)
    catalogue = read_items(plan, lake, read.log, recommender)
    weights = fading_weights(plan, read.log)
    report = recommender.fit(read.log, weights, options, progress, catalogue.items)
    return Trained(recommender, report, read.log, 0, read.left_out, items_left_out=catalogue.left_out)


def fading_weights(plan: TrainingPlan, log: SessionLog) -> NDArray[np.float32]:
    """Return the weight of each session by its age at the window's end, float32 [n_sessions]."""
    return decay_weights(log.ended_at, plan.window.end.timestamp(), plan.window.half_life_hours * 3600)
