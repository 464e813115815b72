"""Champion and online updates as a version of its own, which services pull by the alias `online`.

The alias is there from the first update on, and always names something that serves: the champion with what
has moved since, or, after the champion moved, the champion as it is. No gate judges a delta: it is bounded,
and lives no longer than its champion.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lastaisle.registry.plan import Champion
from lastaisle.training.online import BASE, UNTIL, StoredDelta, learn_online

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry

ALIAS = "online"
KEPT = 2  # versions of a champion's updates: that of the alias, and the one before it


@dataclass(frozen=True)
class OnlineReport:
    """What an online update did.

    Attributes:
        champion: the version whose embeddings moved.
        version: the version that the alias `online` names now.
        until: the end of what was learned from; None where nothing was.
        sessions: sessions learned since the champion's training.
        items_moved: items whose embedding is no longer the champion's.
        new_items: items among them that the champion does not know.
        sessions_per_second: of the newest learning; 0 where nothing was learned.
        run_id: the MLflow run that holds the delta; None where there is none.
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
    """Learn the sessions that ended before `until`, and let the alias `online` name the outcome.

    Asked again with nothing new it changes nothing, and finishes what was cut short.

    Raises:
        ModelError: a champion of an architecture that has no table of embeddings.
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
    """Return where the alias `online` belongs: where it is, unless that is a delta of another champion.

    Empty where nobody ever asked for an online update.
    """
    held = registry.aliases().get(ALIAS)
    if held is None:
        return {}
    base = registry.tags(registry.run_of(held)).get(BASE)
    return {ALIAS: held if base == champion else champion}


def _publish(champion: Champion, stored: StoredDelta, registry: Registry) -> str:
    """Register the model of a run, name it, and delete the versions that it replaces."""
    tags = {
        "run_key": f"online-{champion.version}",
        "lastaisle.kind": "online",
        BASE: champion.version,
        UNTIL: stored.until.isoformat(),
    }
    version = registry.register(stored.run_id, tags)
    text = f"Version {champion.version} with online updates up to {stored.until:%Y-%m-%d %H:%M} UTC."
    registry.describe_version(version, text)
    registry.set_aliases({ALIAS: version})
    others = [other for other in registry.versions_with(BASE) if other != version]
    for replaced in others[KEPT - 1 :]:
        registry.delete_version(replaced)
    return version
