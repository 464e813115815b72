"""A federated training: silos that share no rows train one model, and the coordinator sees no session."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from lastaisle.catalogue.history import read_catalogue
from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import ITEMS
from lastaisle.sessions.windows import SessionsRead
from lastaisle.training.kinds.kind import Trained, WindowKind, WindowLengths
from models.data.sequences import SessionLog
from models.federated.agreement import Agreement
from models.options import TrainingReport

if TYPE_CHECKING:
    from lastaisle.federation.coordinator import Outcome
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings
    from models.options import Progress
    from models.recommender import Recommender

DEFAULT_ARCHITECTURE = "gru"
SHARED = ("attention", "gru", "transformer")
"""The models of models.federated.shared, which imports TensorFlow."""


class Federated(WindowKind):
    """From scratch, by rounds of silos. The sessions of the coordinator's own lake only judge."""

    name = "federated"
    starts_warm = False
    learns_own_sessions = False
    reads_catalogue = True

    def lengths(self, settings: Settings) -> WindowLengths:
        """Return the long window of the settings; each silo reads this window of its own lake."""
        return WindowLengths(settings.learning.full_window_hours, settings.learning.full_half_life_hours)

    def architecture(self, asked: str | None, settings: Settings) -> str | None:
        """Return the model that was asked for; else that of the settings if silos can share it, else gru."""
        preferred = settings.learning.architecture
        return asked or (preferred if preferred in SHARED else DEFAULT_ARCHITECTURE)

    def extra(self, settings: Settings, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the silos agree on beside the hyperparameters.

        Raises:
            AgreementError: values that do not go together, such as too few silos for a rule, or an epsilon.
        """
        chosen = settings.federation
        extra = {
            name: getattr(chosen, name)
            for name in (
                *("aggregation", "rounds", "local_epochs", "learning_rate", "momentum", "clip", "noise"),
                *("max_sessions", "least_count", "hostile", "min_silos"),
            )
        }
        Agreement(DEFAULT_ARCHITECTURE, options, ("any",), **extra)
        return extra

    def read(self, plan: TrainingPlan, lake: Lake) -> SessionsRead:
        """Return no session: the coordinator learns none."""
        return SessionsRead(SessionLog.from_lists([]))

    def learn(
        self,
        plan: TrainingPlan,
        read: SessionsRead,
        lake: Lake,
        registry: Registry,
        progress: Progress | None,
    ) -> Trained:
        """Run the rounds, and take the weights of the last one."""
        from lastaisle.federation.coordinator import train_in_silos

        began, agreement = perf_counter(), agreement_of(plan, lake)
        with tempfile.TemporaryDirectory(prefix="lastaisle-federated-") as folder:
            outcome = train_in_silos(agreement, registry.settings, Path(folder), progress)
        recommender = _recommender(agreement, outcome)
        report = _report(agreement, outcome, perf_counter() - began)
        return Trained(recommender, report, read.log, 0, read.left_out, rounds=outcome.rounds)

    def describe(self, plan: TrainingPlan) -> str:
        """Return how silos learned together, in words for the model card."""
        extra = plan.federation or {}
        text = f"federated: {extra['rounds']} rounds of silos, aggregation {extra['aggregation']}"
        return f"{text}, noise {extra['noise']:g} times the clip" if extra["noise"] else text


def agreement_of(plan: TrainingPlan, lake: Lake) -> Agreement:
    """Return what the silos agree on; the items come from the catalogue at the end of the judging hours.

    Raises:
        NotEnoughDataError: the coordinator has no catalogue.
        AgreementError: values that do not go together, such as too few silos for a rule.
    """
    version = plan.lake_versions.get(ITEMS)
    listed = None if version is None else read_catalogue(lake, plan.holdout_end, version=version)
    if listed is None or not listed.num_rows:
        raise NotEnoughDataError(
            f"{plan.run_key}: the silos agree on items by the public catalogue, and {lake.url} has none: "
            "ingest it by `lastaisle catalogue ingest`, here and not at the silos"
        )
    return Agreement(
        architecture=plan.architecture,
        options=plan.options,
        items=tuple(sorted(listed["item_id"].to_pylist())),
        window_start=plan.window.start.isoformat(),
        window_end=plan.window.end.isoformat(),
        seen_until=plan.holdout_end.isoformat(),
        half_life_hours=plan.window.half_life_hours,
        **(plan.federation or {}),
    )


def _recommender(agreement: Agreement, outcome: Outcome) -> Recommender:
    """Return the model with the weights of the last round, and the popularity that the silos told."""
    from models.federated.shared import assign_weights, shared_model

    model = shared_model(agreement.architecture, agreement.training_options(), agreement.items)
    assign_weights(model, outcome.weights)
    counts = outcome.popularity.astype(np.float64) * max(1, outcome.sessions)
    model.vocabulary = model.vocabulary.with_counts(counts)
    return model


def _report(agreement: Agreement, outcome: Outcome, seconds: float) -> TrainingReport:
    """Return the report; silos tell no number of targets, so it is 0."""
    losses = tuple(float(done["loss"]) for done in outcome.rounds if done["loss"] is not None)
    return TrainingReport(
        sessions=outcome.sessions,
        targets=0,
        steps=sum(bool(done["changed"]) for done in outcome.rounds),
        epochs=len(outcome.rounds) * agreement.local_epochs,
        items=len(agreement.items),
        new_items=len(agreement.items),
        seconds=seconds,
        targets_per_second=0.0,
        losses=losses,
    )
