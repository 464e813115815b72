"""The table `erased`: tombstones of shoppers whose rows were erased, so that no log brings the rows back.

A shop keeps its logs, and reads a file or a Kafka topic again after a fault. Then the rows of an erased
shopper arrive a second time. A tombstone says which rows these are, and not who the shopper is: its digest is
an HMAC with a key derived from the pseudonym key, in a domain of its own. So it joins no other table, and
nobody without the key can compare a known id with it.

Each shopper has several digests: of the id and of its pseudonyms, for each version of the key that is at
hand, and the same of each session and order that is the shopper's alone. These are only for rows that name
no shopper.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa

from data_contracts.contract import load_contract
from data_contracts.privacy import (
    PSEUDONYM_LENGTH,
    domain_key,
    hmac_pads,
    hmac_variables,
    pseudonym_sql,
)
from lastaisle.lake import Lake
from lastaisle.lake.tables import ERASED, ERASED_SCHEMA, EXPOSURES, RAW_EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.privacy.domains import LakeKey, made_by
from lastaisle.privacy.keys import ENVIRONMENT, KeyFileError, PseudonymKeys

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

Form = Literal["raw", "pseudonym"]
RAW: Final = "raw"
PSEUDONYM: Final = "pseudonym"
USER: Final = "user_id"
SESSION: Final = "session_id"
ORDER: Final = "order_id"
FIELDS: Final = (USER, SESSION, ORDER)
REASON: Final = "erased"
"""The reason why a row of an erased shopper is ignored."""
_FENCED: Final = (RAW_EVENTS, EXPOSURES)


def digest(key: bytes, text: str, name: str = USER, form: Form = RAW) -> str:
    """Return the digest of an id in a tombstone: 32 hex characters.

    Args:
        key: a version of the pseudonym key.
        text: the id as raw_events has it, or its pseudonym.
        name: user_id, session_id or order_id.
        form: whether the text is the shop's own id or a pseudonym.
    """
    return hmac.digest(_key_of(key, name, form), text.encode(), "sha256").hex()[:PSEUDONYM_LENGTH]


def mark(lake: Lake, keys: PseudonymKeys, user_ids: Sequence[str], before: datetime, request_id: str) -> bool:
    """Write the tombstones of some shoppers, once for each request; call it before their rows are erased.

    Their sessions and orders are found in raw_events, so they cannot be found once the rows are gone.
    After the tombstones, an append without rows to raw_events and exposures makes each batch that is being
    written look for tombstones again.

    Args:
        lake: holds raw_events.
        keys: all versions of the pseudonym key.
        user_ids: the shop's own ids, as raw_events has them.
        before: rows that occurred until this moment are erased.
        request_id: the request.

    Returns:
        Whether this call wrote the tombstones; an earlier call for the request may have.
    """
    key = f"erased/{request_id}"
    written = False
    if not lake.has(ERASED, key):
        ids = {USER: list(dict.fromkeys(user_ids)), **_own_of(lake, user_ids)}
        rows = [
            {
                "digest": text,
                "key_version": version,
                "before": before.astimezone(UTC),
                "request_id": request_id,
            }
            for version, text in _digests(lake, keys, ids)
        ]
        written = put_back(lake, pa.Table.from_pylist(rows, schema=ERASED_SCHEMA), request_id)
    _fence(lake, key)
    return written


def tombstones(lake: Lake) -> pa.Table:
    """Return all tombstones, for files from which `put_back` takes them."""
    return ERASED_SCHEMA.empty_table() if lake.version(ERASED) is None else lake.scan(ERASED)


def put_back(lake: Lake, rows: pa.Table, request_id: str) -> bool:
    """Write the tombstones of a request, once; such as into a lake that is older than the request.

    Args:
        lake: holds the table.
        rows: its tombstones, as `tombstones` returned them.
        request_id: the request.

    Returns:
        Whether this call wrote them.
    """
    key = f"erased/{request_id}"
    if lake.has(ERASED, key):
        return False
    written = lake.append(ERASED, rows, key=key)
    _fence(lake, key)
    return written


def _fence(lake: Lake, key: str) -> None:
    """Make batches that are being written look for tombstones again: append no rows to their tables."""
    for name in _FENCED:
        dataset = lake.dataset(name)
        if dataset is not None:
            lake.append(name, dataset.schema.empty_table(), key=key)


@dataclass(frozen=True)
class Tombstones:
    """The tombstones of a lake, with the keys that made them.

    Attributes:
        rows: digest and before of each tombstone whose key is at hand.
        secrets: the versions of the pseudonym key that made them.
    """

    rows: pa.Table
    secrets: Mapping[int, bytes] = field(repr=False)

    @classmethod
    def read(cls, lake: Lake, keys: PseudonymKeys | None) -> Tombstones | None:
        """Read the tombstones; None before the first erasure.

        Raises:
            KeyFileError: shoppers were erased, and there is no key, so that nobody can tell their rows.
        """
        if lake.version(ERASED) is None:
            return None
        return cls.of(lake.scan(ERASED, columns=["digest", "key_version", "before"]), keys)

    @classmethod
    def of(cls, rows: pa.Table, keys: PseudonymKeys | None) -> Tombstones | None:
        """Return tombstones with their keys; None if there are no rows.

        Raises:
            KeyFileError: there is no key, so that nobody can tell whose rows these are about.
        """
        if not rows.num_rows:
            return None
        if keys is None:
            raise KeyFileError(
                "shoppers were erased, and without the pseudonym key nobody can tell their rows from others: "
                f"name the key file by LASTAISLE_KEY_FILE, or set {ENVIRONMENT}"
            )
        made = rows["key_version"].to_pylist()
        missing = [version for version in made if version not in keys.versions]
        if missing:
            log.warning(
                "%d of %d tombstones were made with versions %s of the pseudonym key, which are not here: a "
                "log from before the erasure could bring back rows of these shoppers",
                *(len(missing), len(made), ", ".join(map(str, sorted(set(missing))))),
            )
        return cls(rows, {version: keys.versions[version] for version in {*made} & {*keys.versions}})

    def find(self, connection: DuckDBPyConnection, table: str, fields: Iterable[str], form: Form) -> None:
        """Make a table such as `erased_user_id` for each field: the ids of erased shoppers in a table.

        Each has the id and `before`, the moment until which rows of the id are erased.

        Args:
            connection: holds the table.
            table: the name of the table.
            fields: which of FIELDS the table has.
            form: whether the table holds the shop's own ids or pseudonyms.
        """
        connection.register("known_tombstones", self.rows)
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE tombstones AS "
            "SELECT digest, max(before) AS before FROM known_tombstones GROUP BY digest"
        )
        connection.unregister("known_tombstones")
        for name in fields:
            self._bind(connection, name, form)
            digests = [
                f"SELECT {name}, {pseudonym_sql(name, _variable(name, version))} AS digest FROM ids"
                for version in self.secrets
            ]
            digests = digests or [f"SELECT {name}, NULL::VARCHAR AS digest FROM ids"]
            connection.execute(f"""
                CREATE OR REPLACE TEMP TABLE erased_{name} AS
                WITH ids AS MATERIALIZED (SELECT DISTINCT {name} FROM {table} WHERE {name} IS NOT NULL)
                SELECT {name}, max(before) AS before
                FROM ({" UNION ALL ".join(digests)}) JOIN tombstones USING (digest) GROUP BY {name}""")

    def _bind(self, connection: DuckDBPyConnection, name: str, form: Form) -> None:
        """Give DuckDB the keys of the digests as bound values, so that no SQL holds a key."""
        for version, secret in self.secrets.items():
            pads = hmac_pads(_key_of(secret, name, form))
            for variable, pad in zip(hmac_variables(_variable(name, version)), pads, strict=True):
                connection.execute(f"SET VARIABLE {variable} = $pad", {"pad": pad})


def _variable(name: str, version: int) -> str:
    return f"erased_{name}_{version}"


def _key_of(key: bytes, name: str, form: Form) -> bytes:
    return domain_key(key, f"erased/{name}/{form}")  # no domain of a contract has a slash


def _digests(lake: Lake, keys: PseudonymKeys, ids: dict[str, list[str]]) -> Iterator[tuple[int, str]]:
    """Return every digest of some ids, each with the version of its key."""
    contract = load_contract(RAW_EVENTS)
    for version, secret in keys.versions.items():
        made = made_by(lake, version)
        ways = (True, False) if made is None else (made.separates,)
        makers = [LakeKey(version, secret, keys.fingerprint(version), way) for way in ways]
        for name, texts in ids.items():
            domain = contract.field(name).treatment.domain(name)
            for text in texts:
                yield version, digest(secret, text, name)
                for maker in makers:
                    yield version, digest(secret, maker.pseudonym(domain, text), name, PSEUDONYM)


def _own_of(lake: Lake, user_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the sessions and the orders of raw_events that belong to some shoppers and to nobody else."""
    raw = lake.dataset(RAW_EVENTS)
    if raw is None:
        return {}
    own: dict[str, list[str]] = {}
    with open_tables(raw=raw, users=pa.table({USER: pa.array(user_ids, pa.string())})) as connection:
        for name in (SESSION, ORDER):
            if {USER, name} <= set(raw.schema.names):
                found = connection.execute(
                    f"SELECT {name} FROM raw SEMI JOIN users USING (user_id) WHERE {name} IS NOT NULL "
                    f"EXCEPT SELECT {name} FROM raw ANTI JOIN users USING (user_id) WHERE user_id IS NOT NULL"
                ).fetchall()
                own[name] = sorted(text for (text,) in found)
    return own
