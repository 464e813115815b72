"""The key of a lake's pseudonyms: a key of its own for each domain, or one key for all in older lakes.

A lake that was written before there were domains has one pseudonym for a text in all fields. Such a lake goes
on with these pseudonyms until its key is rotated; otherwise the history of every shopper would be split in
two. A mark of the table events says, for each version of the key, which way its pseudonyms are made. The
commit of the first rows of a key writes its mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow.compute as pc

from data_contracts.privacy import domain_key
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS
from lastaisle.privacy.keys import PseudonymKeys


@dataclass(frozen=True)
class LakeKey:
    """The current key of a lake's pseudonyms.

    Attributes:
        version: the version of the key.
        secret: the key.
        separates: whether each domain has a key of its own, derived from the key.
    """

    version: int
    secret: bytes = field(repr=False)
    separates: bool = True

    def of(self, domain: str) -> bytes:
        """Return the key of the pseudonyms of a domain."""
        return domain_key(self.secret, domain) if self.separates else self.secret

    @property
    def mark(self) -> Mapping[str, int]:
        """The key and stamp that a commit to events carries beside its rows."""
        return {_mark(self.version, self.separates): 1}


def key_of_lake(lake: Lake, keys: PseudonymKeys, version: int | None) -> LakeKey:
    """Return the current key, with the way in which the events of that key were made.

    Args:
        lake: holds the events.
        keys: the pseudonym keys.
        version: a version of the table events, read before this call; None before its first row.
    """
    return LakeKey(keys.current, keys.key, version is None or _separates(lake, keys.current, version))


def _separates(lake: Lake, key_version: int, version: int) -> bool:
    """Tell whether the events of a key have domains; events without a mark are older than domains."""
    marks = {separates: _mark(key_version, separates) for separates in (True, False)}
    lacking = lake.lacking(EVENTS, marks.values())
    if len(lacking) < len(marks):
        return marks[True] not in lacking
    of_key = pc.field("key_version") == key_version
    # Rows of a later version may come from a writer that left the mark meanwhile.
    return not lake.scan(EVENTS, columns=["key_version"], where=of_key, version=version).num_rows


def _mark(key_version: int, separates: bool) -> str:
    return f"pseudonyms-of-key-{key_version}/{'by-domain' if separates else 'without-domains'}"
