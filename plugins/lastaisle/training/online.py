"""Online updates of the champion: learn the sessions that ended since, and keep what moved as an MLflow run.

A run holds the arrays of the delta (models/online) and, as a tag, the moment up to which it has learned: both
count when the run is finished, so whatever is killed when, no session is lost or learned twice. A delta
belongs to one version; another champion starts without one. Only shoppers' vectors go on, where the
champion's training began with a delta: no weight holds them, so its run says whose they are (SHOPPERS).
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from lastaisle.registry.plan import Champion
from lastaisle.registry.revision import git_revision
from lastaisle.registry.runs import MissingArtifactError
from lastaisle.sessions.windows import Window, newest_data_end, refusing_shoppers, training_sessions

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from models.online.delta import OnlineDelta
    from models.recommender import Recommender

BASE = "lastaisle.online_base"
UNTIL = "lastaisle.online_until"
SHOPPERS = "lastaisle.online_shoppers"  # tag of a training: the run whose shoppers its updates begin with
ARTIFACT = "online/delta.npz"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredDelta:
    """What a champion's embeddings have moved by, as it lies in the registry.

    Attributes:
        run_id: the MLflow run that holds it.
        until: the end of what it has learned from.
    """

    run_id: str
    until: datetime


def finished_until(lake: Lake, limit: datetime | None = None) -> datetime:
    """Return the moment before which sessions are over: so long no event of theirs has followed.

    Args:
        lake: where `events` is.
        limit: the latest moment that counts, e.g. a partition's end; a clock that runs ahead moves nothing.

    Raises:
        NotEnoughDataError: there are no events yet.
    """
    from lastaisle.privacy.sessions import SESSION_GAP

    newest = newest_data_end(lake)
    return (newest if limit is None else min(newest, limit)) - SESSION_GAP


def newest_delta(version: str, registry: Registry, until: datetime | None = None) -> StoredDelta | None:
    """Return the newest delta of a version that has learned nothing after `until`; None if there is none."""
    runs = registry.finished_runs(_run_key(version))
    found = [StoredDelta(run_id, datetime.fromisoformat(tags[UNTIL])) for run_id, tags in runs.items()]
    found = [delta for delta in found if until is None or delta.until <= until]
    return max(found, key=lambda delta: delta.until, default=None)


def with_delta(champion: Champion, registry: Registry, until: datetime) -> tuple[Recommender, str | None]:
    """Load a champion with its online updates folded in, for a training to go on from.

    Updates that learned from sessions after `until`, the end of the training's window, are left out: a
    candidate is judged on those.

    Returns:
        The model; and the run whose shoppers its updates are to begin with: that of the folded updates, or
        of those that the champion itself goes on from; None if there is neither.
    """
    from models.online.delta import OnlineDelta
    from models.online.model import folded

    recommender = registry.load_recommender(champion.run_id)
    stored = newest_delta(champion.version, registry, until)
    if stored is None:
        return recommender, registry.tags(champion.run_id).get(SHOPPERS)
    delta = OnlineDelta.on(recommender)
    delta.load(_file(registry, stored.run_id))
    return folded(recommender, delta), stored.run_id


def learn_online(champion: Champion, lake: Lake, registry: Registry, until: datetime) -> StoredDelta | None:
    """Learn the sessions that ended since the delta's moment, or the champion's window, and before `until`.

    A session that went on after `until` is left to the next update. One whose events came later than its hour
    was learned is the next training's. Shoppers who refuse personalization by now are forgotten. Called again
    with nothing new, it returns the delta there is.

    Returns:
        The newest delta; None where the champion has none and nothing was to be learned.

    Raises:
        ModelError: a champion of an architecture that has no table of embeddings.
        NotEnoughDataError: the lake has no events.
    """
    from models.online.model import OnlineModel

    run_key = _run_key(champion.version)
    registry.discard_unfinished(run_key)
    stored = newest_delta(champion.version, registry)
    since = stored.until if stored else champion.window_end
    if until <= since:
        return stored
    log = training_sessions(lake, Window(since, until, 1.0), newest_data_end(lake), None).log
    if not len(log):
        return stored
    recommender = registry.load_recommender(champion.run_id)
    delta = _begun(recommender, champion, stored, registry)
    forgotten = delta.shoppers.forget(refusing_shoppers(lake)) if len(delta.shoppers) else 0
    began = perf_counter()
    delta.learn_log(log)
    seconds = perf_counter() - began
    tags = {
        "run_key": run_key,
        "lastaisle.kind": "online",
        BASE: champion.version,
        UNTIL: until.isoformat(),
        "lastaisle.git_revision": git_revision(),
    }
    with registry.run(run_key, tags) as run_id, tempfile.TemporaryDirectory() as folder:
        registry.log_metrics(
            run_id,
            {
                "sessions": len(log),
                "sessions_in_all": delta.learned,
                "items_moved": int(delta.moved.sum()),
                "new_items": len(delta.vocabulary) - len(recommender.vocabulary),
                "shoppers": len(delta.shoppers),
                "shoppers_forgotten": forgotten,
                "learning_seconds": seconds,
            },
        )
        file = Path(folder) / Path(ARTIFACT).name
        delta.save(file)
        registry.log_file(run_id, file, Path(ARTIFACT).parent.name)
        registry.log_packed(OnlineModel(recommender, delta), Path(folder))
    return StoredDelta(run_id, until)


def _begun(
    recommender: Recommender, champion: Champion, stored: StoredDelta | None, registry: Registry
) -> OnlineDelta:
    """Return the stored delta of a champion, or its first, with the shoppers that its training names."""
    from models.online.delta import OnlineDelta

    delta = OnlineDelta.on(recommender)
    if stored:
        delta.load(_file(registry, stored.run_id))
    elif before := registry.tags(champion.run_id).get(SHOPPERS):
        try:
            delta.load_shoppers(_file(registry, before))
        except MissingArtifactError:  # `mlflow gc` takes away deleted runs
            logger.warning(
                "the run %s is gone, whose shoppers the updates of version %s were to begin with",
                before,
                champion.version,
            )
    return delta


def _run_key(version: str) -> str:
    return f"online-{version}"


def _file(registry: Registry, run_id: str) -> Path:
    return registry.download(run_id, ARTIFACT)
