"""Online updates of the champion: learn the sessions that ended since the last update, and store the change.

The change of the champion's embeddings is a delta (models/online). An MLflow run holds the arrays of the
delta and, as a tag, the moment up to which the delta has learned. Both count only when the run is finished,
so after a kill at any moment no session is lost or learned twice. A delta belongs to one version; another
champion starts without one. Only the vectors of shoppers go on: a training that began with a champion and its
delta names, in its tag SHOPPERS, the run that holds these vectors, since no weight of the model holds them.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.privacy.sessions import SESSION_GAP
from lastaisle.registry.errors import MissingArtifactError
from lastaisle.registry.plan import Champion, last_partition
from lastaisle.registry.revision import git_revision
from lastaisle.registry.tags import BASE, GIT_REVISION, KIND
from lastaisle.sessions.windows import Window, newest_data_end, refusing_shoppers, training_sessions
from models.online.delta import OnlineDelta

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from models.data.sequences import SessionLog
    from models.recommender import Recommender

# models.online.model imports TensorFlow, so functions import it inside: this module also serves tasks that
# learn nothing.

UNTIL = "lastaisle.online_until"
SHOPPERS = "lastaisle.online_shoppers"  # tag of a training: the run whose shoppers its updates begin with
ARTIFACT = "online/delta.npz"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredDelta:
    """The change of a champion's embeddings as the registry holds it.

    Attributes:
        run_id: the MLflow run that holds the arrays.
        until: the end of the sessions that it has learned.
    """

    run_id: str
    until: datetime


def finished_until(lake: Lake, limit: datetime | None = None) -> datetime:
    """Return the moment before which sessions are over, since no event followed them for SESSION_GAP.

    Args:
        lake: where `events` is.
        limit: the latest moment that counts, e.g. a partition's end; a clock that runs ahead has no effect.

    Raises:
        NotEnoughDataError: there are no events yet.
    """
    newest = newest_data_end(lake)
    return (newest if limit is None else min(newest, limit)) - SESSION_GAP


def newest_delta(version: str, registry: Registry, until: datetime | None = None) -> StoredDelta | None:
    """Return the newest delta of a version that has learned nothing after `until`; None if there is none.

    A delta whose arrays or model were deleted does not count: what it learned is learned again.
    """
    runs = registry.finished_runs(_run_key(version))
    deltas = [StoredDelta(run_id, datetime.fromisoformat(tags[UNTIL])) for run_id, tags in runs.items()]
    deltas = [delta for delta in deltas if until is None or delta.until <= until]
    for delta in sorted(deltas, key=lambda delta: delta.until, reverse=True):
        if registry.is_whole(delta.run_id, ARTIFACT):
            return delta
        logger.warning("run %s lost the online updates of version %s", delta.run_id, version)
    return None


def load_with_updates(
    champion: Champion, registry: Registry, until: datetime
) -> tuple[Recommender, str | None]:
    """Load a champion with its online updates folded in, as the start of a training.

    Updates that learned from sessions after `until`, the end of the training's window, are left out, since
    those sessions judge the candidate.

    Returns:
        The model; and the run that holds the shoppers with which the new model's updates are to begin: the
        run of the folded updates, or else the run that the champion's own updates began with. None if there
        is neither.
    """
    from models.online.model import folded

    recommender = registry.load_recommender(champion.run_id)
    stored = newest_delta(champion.version, registry, until)
    if stored is None:
        return recommender, registry.tags(champion.run_id).get(SHOPPERS)
    delta = OnlineDelta.on(recommender)
    delta.load(registry.download(stored.run_id, ARTIFACT))
    return folded(recommender, delta), stored.run_id


class OnlineUpdatesNotPrivateError(LastaisleError):
    """Online updates, which learn without noise, where each version has to be private."""

    exit_code = ExitCode.WRONG_REQUEST


def learn_online(champion: Champion, lake: Lake, registry: Registry, until: datetime) -> StoredDelta | None:
    """Learn the sessions that ended before `until` and after the last update, or the champion's window.

    A session that went on after `until` is left to the next update. A session whose events came later than
    the update of its hour is left to the next training. Shoppers who refuse personalization by now are
    forgotten. If there is nothing new, the stored delta is returned.

    Returns:
        The newest delta; None if the champion has none and there was nothing to learn.

    Raises:
        ModelError: a champion of an architecture that has no table of embeddings.
        NotEnoughDataError: the lake has no events.
        OnlineUpdatesNotPrivateError: LASTAISLE_PRIVACY_REQUIRED asks for noise.
    """
    if registry.privacy.required:
        raise OnlineUpdatesNotPrivateError(
            f"online updates of version {champion.version} would learn without noise, but "
            "LASTAISLE_PRIVACY_REQUIRED is true: pause the DAG update_online, and train each hour or day"
        )
    stored = newest_delta(champion.version, registry)
    since = stored.until if stored else champion.window_end
    if until <= since:
        return stored
    log = training_sessions(lake, Window(since, until, 1.0), newest_data_end(lake), None).log
    if not len(log):
        return stored
    recommender = registry.load_recommender(champion.run_id)
    delta = _starting_delta(recommender, champion, stored, registry)
    forgotten = _forget_refusing(delta, lake, registry, stored)
    began = perf_counter()
    delta.learn_log(log)
    metrics = {
        **_measured(log, delta, recommender),
        "shoppers_forgotten": forgotten,
        "learning_seconds": perf_counter() - began,
    }
    run_id = _store(champion, recommender, delta, metrics=metrics, until=until, registry=registry)
    return StoredDelta(run_id, until)


def _forget_refusing(delta: OnlineDelta, lake: Lake, registry: Registry, stored: StoredDelta | None) -> int:
    """Forget the shoppers who refuse personalization by now; return their number.

    A stored delta has no shopper who refused when its run began, so only what was written since is read.
    """
    if not len(delta.shoppers):
        return 0
    began = None if stored is None else datetime.fromtimestamp(registry.times(stored.run_id)[0] / 1000, UTC)
    return delta.shoppers.forget(refusing_shoppers(lake, written_since=began))


def _measured(log: SessionLog, delta: OnlineDelta, recommender: Recommender) -> dict[str, float]:
    """Return what an update changed."""
    return {
        "sessions": len(log),
        "sessions_in_all": delta.learned,
        "items_moved": int(delta.moved.sum()),
        "new_items": len(delta.vocabulary) - len(recommender.vocabulary),
        "shoppers": len(delta.shoppers),
    }


def _store(
    champion: Champion,
    recommender: Recommender,
    delta: OnlineDelta,
    *,
    metrics: dict[str, float],
    until: datetime,
    registry: Registry,
) -> str:
    """Store a delta as a finished run, with the model that services pull; return the run."""
    from models.online.model import OnlineModel

    tags = {
        KIND: "online",
        BASE: champion.version,
        UNTIL: until.isoformat(),
        GIT_REVISION: git_revision(),
    }
    name = f"online updates of version {champion.version} to {last_partition(until)}"
    with (
        registry.training_run(_run_key(champion.version), tags, name) as run_id,
        tempfile.TemporaryDirectory() as folder,
    ):
        registry.log_metrics(run_id, metrics)
        file = Path(folder) / Path(ARTIFACT).name
        delta.save(file)
        registry.log_file(run_id, file, Path(ARTIFACT).parent.name)
        registry.log_packed(OnlineModel(recommender, delta), Path(folder))
    return run_id


def _starting_delta(
    recommender: Recommender, champion: Champion, stored: StoredDelta | None, registry: Registry
) -> OnlineDelta:
    """Return the stored delta of a champion, or its first, with the shoppers that its training names."""
    delta = OnlineDelta.on(recommender)
    if stored:
        delta.load(registry.download(stored.run_id, ARTIFACT))
    elif shoppers_run := registry.tags(champion.run_id).get(SHOPPERS):
        try:
            delta.load_shoppers(registry.download(shoppers_run, ARTIFACT))
        except MissingArtifactError:  # `mlflow gc` removes deleted runs
            logger.warning(
                "the run %s is gone, whose shoppers the updates of version %s were to begin with: "
                "they begin without shoppers",
                shoppers_run,
                champion.version,
            )
    return delta


def _run_key(version: str) -> str:
    return f"online-{version}"
