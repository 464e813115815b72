"""The key of a lake's pseudonyms: a key of its own for each domain, or one key for all in older lakes.

A lake that was written before there were domains has one pseudonym for a text in all fields. Such a lake goes
on with these pseudonyms until its key is rotated; otherwise the history of every shopper would be split in
two. A mark of the table events says, for each version of the key, which way its pseudonyms are made, and by
which key. The commit of the first rows of a key writes its mark.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from data_contracts.privacy import PSEUDONYM_LENGTH, domain_key, hmac_pads, hmac_variables
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS
from lastaisle.privacy.keys import ENVIRONMENT, FINGERPRINT_BYTES, KeyFileError, PseudonymKeys

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class LakeKey:
    """The current key of a lake's pseudonyms.

    Attributes:
        version: the version of the key.
        secret: the key.
        fingerprint: tells the key from others, and says nothing about it.
        separates: whether each domain has a key of its own, derived from the key.
    """

    version: int
    secret: bytes = field(repr=False)
    fingerprint: str
    separates: bool = True

    def of(self, domain: str) -> bytes:
        """Return the key of the pseudonyms of a domain."""
        return domain_key(self.secret, domain) if self.separates else self.secret

    def pseudonym(self, domain: str, text: str) -> str:
        """Return the pseudonym that `anonymize` gives to an id in a field of a domain.

        Args:
            domain: the domain, such as user_id.
            text: the id as `raw_events` has it; see `data_contracts.spellings.identifier`.
        """
        return hmac.digest(self.of(domain), text.encode(), "sha256").hex()[:PSEUDONYM_LENGTH]

    def bind(self, connection: DuckDBPyConnection, domains: Iterable[str]) -> None:
        """Give DuckDB the keys of some domains, as bound values; see `Treatment.sql`."""
        for domain in domains:
            for variable, pad in zip(hmac_variables(domain), hmac_pads(self.of(domain)), strict=True):
                connection.execute(f"SET VARIABLE {variable} = $pad", {"pad": pad})

    @property
    def mark(self) -> Mapping[str, int]:
        """The key and stamp that a commit to events carries beside its rows."""
        return {_mark(self.version, self.separates): int(self.fingerprint, base=16)}


def key_of_lake(lake: Lake, keys: PseudonymKeys, version: int | None) -> LakeKey:
    """Return the current key, with the way in which the events of that key were made.

    Args:
        lake: holds the events.
        keys: the pseudonym keys.
        version: a version of the table events, read before this call; None before its first row.

    Raises:
        KeyFileError: another key made the events of this version of the key.
    """
    made = made_by(lake, keys.current)
    if made is not None and made.fingerprint != keys.fingerprint():
        raise KeyFileError(
            f"the events of {lake.url} with key version {keys.current} were made by another key than the key "
            f"of {keys.path or ENVIRONMENT}, so every shopper would get a second pseudonym: restore the key "
            "that made them, or give all events a new key by `lastaisle keys rotate --no-dry-run`"
        )
    if made is None and version is not None:
        of_key = pc.field("key_version") == keys.current
        # Rows of a later version of the table may come from a writer that left the mark meanwhile.
        made = Maker("", not lake.scan(EVENTS, ["key_version"], of_key, version).num_rows)
    return LakeKey(keys.current, keys.key, keys.fingerprint(), made is None or made.separates)


@dataclass(frozen=True)
class Maker:
    """How the events of a version of the key were made.

    Attributes:
        fingerprint: of the key that made them.
        separates: whether each domain has a key of its own.
    """

    fingerprint: str
    separates: bool


def made_by(lake: Lake, key_version: int) -> Maker | None:
    """Return how the events of a version of the key were made; None if the table has no mark of it."""
    table = lake.table(EVENTS)
    for separates in (True, False):
        number = None if table is None else table.transaction_version(_mark(key_version, separates))
        if number is not None:
            return Maker(f"{number:0{2 * FINGERPRINT_BYTES}x}", separates)
    return None


def _mark(key_version: int, separates: bool) -> str:
    return f"pseudonyms-of-key-{key_version}/{'by-domain' if separates else 'without-domains'}"
