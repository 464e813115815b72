"""Ask again for the erasures that the restore of an older lake undid."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lastaisle.rights.inbox import MOST_IDS
from lastaisle.rights.restored import find_erased, kept_erasures, missing_in, put_back_all
from lastaisle.rights.work import ask

if TYPE_CHECKING:
    from lastaisle.rights.work import Desk


@dataclass(frozen=True)
class Reapplied:
    """What was done about earlier erasures in a lake that was restored, without any id.

    Attributes:
        dry_run: whether nothing was changed.
        erasures: the erasures of this lake of which the folder of requests has the tombstones.
        elsewhere: those of other lakes, which were left out.
        put_back: the erasures whose tombstones were missing in the lake, and were put back.
        shoppers: the erased shoppers of whom the lake holds rows from before their erasure.
        request_id: the request that erases them again; empty if there are none, or after a dry run.
    """

    dry_run: bool
    erasures: int
    elsewhere: int
    put_back: int
    shoppers: int
    request_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        return asdict(self)


def reapply(desk: Desk, actor: str, *, of_lake: str = "", dry_run: bool = True) -> Reapplied:
    """Put the tombstones of earlier erasures back, and ask for the erasure of the shoppers who came back.

    Call it after the restore of an older lake, before any ingestion. Its request is done by `work`. Killed
    before that, a second call finds the shoppers again. A request has MOST_IDS shoppers at most; if there are
    more, call it again.

    Args:
        desk: what the work needs.
        actor: who asks.
        of_lake: the address that the lake had when the shoppers were erased; by default the present address.
        dry_run: only count; change nothing.

    Raises:
        InboxError: a file of tombstones cannot be read.
        KeyFileError: there is no pseudonym key, or another key made the events.
    """
    kept = kept_erasures(desk.inbox)
    own = [each for each in kept if each.lake == (of_lake or desk.lake.url)]
    missing = missing_in(desk.lake, own)
    if not dry_run:
        put_back_all(desk.lake, missing)
    shoppers = find_erased(desk.lake, desk.keys(), own) if own else frozenset()
    counts = (len(own), len(kept) - len(own), len(missing), len(shoppers))
    if dry_run or not shoppers:
        return Reapplied(dry_run, *counts)
    return Reapplied(dry_run, *counts, ask(desk, "erase", sorted(shoppers)[:MOST_IDS], actor).request_id)
