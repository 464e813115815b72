"""Rotate the pseudonym key in all tables that hold pseudonyms: the events, then what follows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lastaisle.feedback.exposures.rotate import ExposureRotation, rotate_exposures
from lastaisle.feedback.renew import RENEWED, Renewal, renew
from lastaisle.lake import Lake
from lastaisle.lake.tables import EXPOSURES
from lastaisle.lake.workspace import MEMORY_LIMIT
from lastaisle.privacy import rotate
from lastaisle.privacy.k_anonymity import K
from lastaisle.privacy.keys import PseudonymKeys

_SHARE_OF_EVENTS = 0.7


@dataclass(frozen=True)
class Rotation:
    """A rotation of the pseudonym key.

    Attributes:
        events: the key, and what happens to the events.
        exposures: what happens to the exposures.
        others: what happens to the consents and the abandonments, by table.
    """

    events: rotate.RotationReport
    exposures: ExposureRotation
    others: Mapping[str, Renewal] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary for JSON."""
        exposures = asdict(self.exposures)
        lost = self.exposures.rows_lost_by_day
        exposures["rows_lost_by_day"] = {day.isoformat(): rows for day, rows in lost.items()}
        others = {table: asdict(renewal) for table, renewal in self.others.items()}
        return {**self.events.to_dict(), "exposures": exposures, **others}


def rotate_all(
    lake: Lake,
    keys: PseudonymKeys,
    *,
    delete_without_raw: bool = False,
    dry_run: bool = True,
    k: int = K,
    memory_limit: str = MEMORY_LIMIT,
    progress: Callable[[float, str], None] = lambda share, step: None,
) -> Rotation:
    """Make a new pseudonym key, and give it to all events and what follows them; run again after a kill.

    If some rows of either table have another key than the current one, no key is made: the rotation is
    finished with the current key. Arguments and errors are those of `lastaisle.privacy.rotate.rotate` and of
    `rotate_exposures`.
    """
    events = rotate.rotate(
        lake,
        keys,
        keys_elsewhere=rotate.rows_by_key(lake, EXPOSURES),
        delete_without_raw=delete_without_raw,
        dry_run=dry_run,
        k=k,
        memory_limit=memory_limit,
        progress=lambda share, step: progress(_SHARE_OF_EVENTS * share, f"events: {step}"),
    )
    # Refusals come first. If the rotation is killed here, the exposures still have the old key, so that the
    # next call finishes it.
    progress(_SHARE_OF_EVENTS, "consents and abandonments")
    others = {
        table: renew(lake, table, events.key_version, dry_run=dry_run, memory_limit=memory_limit)
        for table in RENEWED
    }
    progress(_SHARE_OF_EVENTS, "exposures")
    exposures = rotate_exposures(
        lake,
        events.key_version,
        dry_run=dry_run,
        without_deleted=bool(events.rows_deleted),
        memory_limit=memory_limit,
    )
    progress(1.0, "done")
    return Rotation(events, exposures, others)
