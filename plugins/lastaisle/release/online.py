"""The champion with its online updates, as a version that services pull by the alias `online`.

The alias exists from the first update on. It names the champion with its online updates; after the champion
moved, it names the new champion. The gate does not judge online updates: their size is bounded, and they end
with their champion.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lastaisle.registry.plan import Champion
from lastaisle.registry.tags import BASE, DIGEST
from lastaisle.training.online import UNTIL, StoredDelta, learn_online

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry

ALIAS = "online"
KEPT = 2  # versions with online updates: the version of the alias, and the version before it


@dataclass(frozen=True)
class OnlineReport:
    """The outcome of an online update.

    Attributes:
        champion: the version whose embeddings the update changes.
        version: the version that the alias `online` names now.
        until: end of the sessions that were learned; None if no sessions were learned.
        sessions: number of sessions learned since the champion's training.
        items_moved: number of items whose embedding differs from the champion's.
        new_items: number of these items that the champion does not know.
        sessions_per_second: speed of the newest update; 0 if no sessions were learned.
        run_id: the MLflow run that holds the delta; None if there is no delta.
    """

    champion: str
    version: str
    until: datetime | None = None
    sessions: int = 0
    items_moved: int = 0
    new_items: int = 0
    sessions_per_second: float = 0.0
    run_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return as a JSON-serialisable dict."""
        return {**asdict(self), "until": self.until and self.until.isoformat()}


def update_online(champion: Champion, lake: Lake, registry: Registry, until: datetime) -> OnlineReport:
    """Learn the sessions that ended before `until`, and point the alias `online` to the outcome.

    A second call without new sessions changes nothing, and finishes an interrupted update.

    Raises:
        ModelError: the champion's architecture has no table of embeddings.
        NotEnoughDataError: the lake has no events.
    """
    stored = learn_online(champion, lake, registry, until)
    if stored is None:
        registry.set_aliases({ALIAS: champion.version})
        return OnlineReport(champion.version, champion.version)
    version = _publish(champion, stored, registry)
    metrics = registry.metrics(stored.run_id)
    return OnlineReport(
        champion=champion.version,
        version=version,
        until=stored.until,
        sessions=int(metrics["sessions_in_all"]),
        items_moved=int(metrics["items_moved"]),
        new_items=int(metrics["new_items"]),
        sessions_per_second=metrics["sessions"] / max(metrics["learning_seconds"], 1e-9),
        run_id=stored.run_id,
    )


def online_alias(registry: Registry, champion: str | None) -> dict[str, str | None]:
    """Return the version that the alias `online` has to name: the present one if it updates the champion.

    Otherwise the alias has to name the champion. The result is empty if there was never an online update.
    """
    held = registry.aliases().get(ALIAS)
    if held is None:
        return {}
    run_id = registry.find_run_of(held)
    base = registry.tags(run_id).get(BASE) if run_id and registry.has_run(run_id) else None
    return {ALIAS: held if base == champion else champion}


def _publish(champion: Champion, stored: StoredDelta, registry: Registry) -> str:
    """Register the model of a run, set the alias, and delete the versions that it replaces."""
    tags = {
        "run_key": f"online-{champion.version}",
        "lastaisle.kind": "online",
        BASE: champion.version,
        UNTIL: stored.until.isoformat(),
    }
    if digest := registry.tags(stored.run_id).get(DIGEST):
        tags[DIGEST] = digest
    version = registry.register(stored.run_id, tags)
    text = f"Version {champion.version} with online updates up to {stored.until:%Y-%m-%d %H:%M} UTC."
    registry.describe_version(version, text)
    registry.set_aliases({ALIAS: version})
    others = [other for other in registry.versions_with(BASE) if other != version]
    for replaced in others[KEPT - 1 :]:
        registry.delete_version(replaced)
    return version
