"""A refresh: a small, bounded warm start for shoppers like those who just abandoned a checkout.

The sessions that are learned and the sessions that judge must differ, yet both have to be of the last hours.
So a hash of the sessions' names cuts the sessions since the champion's window into halves: the refresh may
learn from one half, and the other half judges (see lastaisle.evaluation.judging). The refreshed version
counts as having learned up to the end of the champion's window, so the next incremental training learns the
last hours whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lastaisle.errors import NotEnoughDataError
from lastaisle.sessions.abandonments import sessions_of_bursts
from lastaisle.sessions.windows import SessionsRead, Window, training_sessions
from lastaisle.training.catalogue import read_items
from lastaisle.training.kinds.kind import Trained, TrainingKind
from lastaisle.training.online import load_with_updates
from lastaisle.training.similar import cluster, describe_clusters, draw_clusters
from models.options import TrainingOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from models.data.sequences import SessionLog
    from models.options import Progress

# How far an item may move on the unit sphere; see models.options.TrainingOptions.trust_region.
TRUST_REGION = 0.3
# Sessions of other kinds, for each targeted session, and the learning rate as a share of a warm start's. In
# benchmarks/refresh.py (seeds 7 and 8) these values gained 3 and 5 points of recall@20, and 0 and 3 on
# abandoned sessions; on seed 7 a quarter of a session at the full rate lost 2.5 and 5.
REPLAYED_PER_TARGETED, LEARNING_RATE_SHARE = 3.0, 0.25
LEAST_REPLAYED = 100  # a refresh never learns only a few sessions of one kind


@dataclass(frozen=True)
class RefreshRead(SessionsRead):
    """The sessions that a refresh learns from.

    Attributes:
        clusters: for each cluster, the numbers of abandoned and similar sessions, and the most viewed items.
        replayed: number of sessions outside all clusters, which are learned against forgetting.
    """

    clusters: tuple[dict[str, Any], ...] = ()
    replayed: int = 0

    def metrics(self) -> dict[str, float]:
        """Return the metrics about the sessions, for the MLflow run."""
        sums = {name: sum(counts[name] for counts in self.clusters) for name in ("abandoned", "similar")}
        numbers = {**sums, "clusters": len(self.clusters), "replayed": self.replayed}
        return {f"refresh_{name}": float(value) for name, value in numbers.items()}


class Refresh(TrainingKind[RefreshRead]):
    """A warm start on abandoned sessions, on sessions like them, and on a sample of all others."""

    name = "refresh"
    starts_warm = True
    corrects_base = True

    @staticmethod
    def bounded(options: Mapping[str, Any]) -> dict[str, Any]:
        """Return hyperparameters with which no item moves far, in place of the given ones."""
        return {
            **options,
            "trust_region": min(TRUST_REGION, options["trust_region"] or TRUST_REGION),
            "warm_learning_rate": options["warm_learning_rate"] * LEARNING_RATE_SHARE,
        }

    def read(self, plan: TrainingPlan, lake: Lake) -> RefreshRead:
        """Read abandoned sessions, sessions like them, and a sample of the others.

        Of the sessions since the champion's window, only the half that does not judge is read.

        Raises:
            NotEnoughDataError: none of the abandoned sessions may be learned from, for example because all
                shoppers refuse consent.
        """
        reach = Window(plan.window.start, plan.holdout_end, plan.window.half_life_hours)
        read = training_sessions(lake, reach, plan.holdout_end, plan.lake_versions, with_ids=True)
        fresh = read.log.ended_at >= plan.window.end.timestamp()
        log = read.log.select(~(fresh & in_judging_half(read.log))) if len(read.log) else read.log
        abandoned = in_bursts(log, lake, plan)
        if not abandoned.any():
            raise NotEnoughDataError(
                f"{plan.run_key}: none of its abandoned sessions may be learned from "
                f"(left out: {dict(read.left_out)}; one half judges)"
            )
        seed = int(plan.options["seed"])
        clusters = cluster(log, abandoned, seed)
        targeted = np.concatenate([np.flatnonzero(abandoned), clusters.similar])
        others = np.setdiff1d(np.arange(len(log)), targeted)
        wanted = min(len(others), max(LEAST_REPLAYED, round(REPLAYED_PER_TARGETED * len(targeted))))
        replayed = np.random.default_rng(seed).choice(others, wanted, replace=False)
        chosen = log.select(np.sort(np.concatenate([targeted, replayed])))
        described = tuple(describe_clusters(log, abandoned, clusters))
        return RefreshRead(chosen, read.left_out, described, len(replayed))

    def learn(
        self, plan: TrainingPlan, read: RefreshRead, lake: Lake, registry: Registry, progress: Progress | None
    ) -> Trained:
        """Train the champion, with its online updates; no session weighs less for its age."""
        champion = registry.start_of(plan)
        recommender, shoppers_run = load_with_updates(champion, registry, plan.window.end)
        weights = np.ones(len(read.log), np.float32)
        options = TrainingOptions.from_dict(plan.options)
        catalogue = read_items(plan, lake, read.log, recommender)
        report = recommender.warm_start(read.log, weights, options, progress, catalogue.items)
        learned = (recommender, report, read.log, read.replayed)
        return Trained(*learned, read.left_out, shoppers_run, catalogue.left_out)

    def log(self, registry: Registry, run_id: str, read: RefreshRead) -> None:
        """Log the clusters of sessions that the refresh is for."""
        clusters = list(read.clusters)
        registry.log_metrics(run_id, read.metrics())
        registry.log_json(run_id, {"clusters": clusters}, "refresh/clusters.json")
        registry.log_figure(run_id, draw_clusters(clusters), "plots/clusters.png")

    def judging_slices(self, plan: TrainingPlan, lake: Lake, log: SessionLog) -> dict[str, NDArray[np.bool_]]:
        """Return the slice `abandoned`: the judging sessions that abandoned their checkout."""
        return {"abandoned": in_bursts(log, lake, plan)}


def in_judging_half(log: SessionLog) -> NDArray[np.bool_]:
    """Tell which sessions of a log with ids judge, bool [n_sessions]; the answer is always the same."""
    digests = (hashlib.md5(name.encode(), usedforsecurity=False).digest() for name in log.context["session"])
    return np.fromiter((digest[0] % 2 == 1 for digest in digests), bool, len(log))


def in_bursts(log: SessionLog, lake: Lake, plan: TrainingPlan) -> NDArray[np.bool_]:
    """Tell which sessions of a log with ids belong to the plan's bursts, bool [n_sessions]."""
    names = sessions_of_bursts(lake, plan.bursts)
    ids = log.context.get("session", ())
    return np.fromiter((name in names for name in ids), bool, len(log))
