"""From raw_events to events: each field is treated as the contract classifies it, each batch exactly once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from data_contracts.contract import Contract, load_contract
from data_contracts.privacy import literal
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.tables import BATCHES, EVENTS, RAW_EVENTS
from lastaisle.lake.workspace import MEMORY_LIMIT, open_workspace
from lastaisle.privacy.anonymizer import Anonymizer, events_schema
from lastaisle.privacy.domains import key_of_lake
from lastaisle.privacy.k_anonymity import Grouping, K, describe
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.privacy.sessions import derive_sessions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

ATTEMPTS = 20
LOOK_BACK = timedelta(days=7)


class AnonymizeError(LastaisleError):
    """Rows break the contract of events; nothing was committed."""

    exit_code = ExitCode.NOT_ANONYMIZED


@dataclass(frozen=True)
class AnonymizeReport:
    """The result of anonymizing one batch.

    Attributes:
        batch_id: the batch.
        rows: its rows in `events`.
        days: the UTC days of these rows.
        left_out: the rows of this call that lost a quasi-identifier, by its name.
    """

    batch_id: str
    rows: int
    days: tuple[date, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Shard:
    """The users that one of several tasks works on: users whose hash has this remainder.

    A session belongs to one user, so a session never spans two shards.

    Attributes:
        index: the remainder, from 0.
        count: the divisor.
    """

    index: int = 0
    count: int = 1

    def key(self, batch_id: str) -> str:
        """Return the key of the append of a batch's rows of this shard."""
        return batch_id if self.count == 1 else f"{batch_id}/{self.index}-of-{self.count}"

    def sql(self) -> str:
        """Return the condition on rows of raw_events. MD5 is the same in every version of DuckDB."""
        if self.count == 1:
            return "true"
        user = "coalesce(user_id, session_id)"
        return f"(md5_number_lower({user}) % {self.count} = {self.index})"


def anonymize_batch(
    batch_id: str,
    lake: Lake,
    keys: PseudonymKeys,
    *,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    k: int = K,
    memory_limit: str = MEMORY_LIMIT,
) -> AnonymizeReport:
    """Bring a batch of raw_events into events; repeated calls write nothing more.

    Args:
        batch_id: from `take_in`.
        lake: holds the tables.
        keys: the pseudonym keys.
        contract: the contract of raw_events, which classifies the fields; the packaged contract by default.
        events_contract: the contract of events; the packaged contract by default.
        k: the least shoppers of an hour that share device and place; see `lastaisle.privacy.k_anonymity`.
        memory_limit: the memory of DuckDB; more data goes to a temporary folder.

    Raises:
        AnonymizeError: there is no such batch, or its rows break the contract of events.
    """
    if not lake.has(RAW_EVENTS, batch_id):
        raise AnonymizeError(f"batch {batch_id} is not in raw_events of {lake.url}: ingest its file first")
    job = _Job(lake, keys, contract, events_contract, k, memory_limit)
    left_out = Counter[str]()
    for shard in _shards_of(batch_id, lake):
        left_out.update(_anonymize([batch_id], shard, job))
    days = lake.scan(EVENTS, columns=["event_date"], where=pc.field("batch_id") == batch_id)
    dates = pc.unique(days["event_date"]).to_pylist()
    return AnonymizeReport(batch_id, len(days), tuple(sorted(dates)), dict(left_out))


def anonymize_shard(
    shard: int,
    lake: Lake,
    keys: PseudonymKeys,
    *,
    batch_ids: Sequence[str] | None = None,
    and_before: datetime | None = None,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    k: int = K,
    rows_at_once: int = 2_000_000,
    memory_limit: str = MEMORY_LIMIT,
) -> list[str]:
    """Bring one shard of every batch that waits in raw_events into events; return the batches' ids.

    A batch keeps the number of shards with which it was ingested. A batch without rows in raw_events is
    skipped, and so is a batch whose shard was committed before. So the next call finishes the work of a
    killed call.

    Args:
        shard: the shard's index.
        lake: holds the tables.
        keys: the pseudonym keys.
        batch_ids: the batches to anonymize; by default all batches of the table batches.
        and_before: a time. Batches that were ingested in the week before it are anonymized, too, since no
            other call will do so.
        contract: the contract of raw_events; the packaged contract by default.
        events_contract: the contract of events; the packaged contract by default.
        k: the least shoppers of an hour that share device and place; see `lastaisle.privacy.k_anonymity`.
        rows_at_once: batches are written together up to this many rows, for fewer and larger files.
        memory_limit: the memory of DuckDB; more data goes to a temporary folder.
    """
    table = lake.scan(BATCHES, columns=["batch_id", "shards", "rows_clean", "started_at", "finished_at"])
    if not table.num_columns:
        return []
    wanted = None if batch_ids is None else set(batch_ids)
    rows = {
        Shard(shard, row["shards"] or 1).key(row["batch_id"]): row
        for row in table.sort_by("started_at").to_pylist()
        if (row["shards"] or 1) > shard and _is_wanted(row, wanted, and_before)
    }
    groups: dict[int, list[list[str]]] = {}
    filled: dict[int, int] = {}
    done = []
    for key in lake.lacking(EVENTS, rows):
        row = rows[key]
        batch_id, count = row["batch_id"], row["shards"] or 1
        if count not in groups or filled[count] + row["rows_clean"] > rows_at_once:
            groups.setdefault(count, []).append([])
            filled[count] = 0
        groups[count][-1].append(batch_id)
        filled[count] += row["rows_clean"]
        done.append(batch_id)
    job = _Job(lake, keys, contract, events_contract, k, memory_limit)
    for count, together in groups.items():
        for ids in together:
            _anonymize(ids, Shard(shard, count), job)
    return done


def anonymize_pending(
    lake: Lake,
    keys: PseudonymKeys,
    *,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    k: int = K,
) -> None:
    """Bring every waiting batch of raw_events into events, with all of its shards.

    Args:
        lake: holds the tables.
        keys: the pseudonym keys.
        contract: the contract of raw_events; the packaged contract by default.
        events_contract: the contract of events; the packaged contract by default.
        k: the least shoppers of an hour that share device and place; see `lastaisle.privacy.k_anonymity`.
    """
    counts = lake.scan(BATCHES, columns=["shards"])
    most = pc.max(counts["shards"]).as_py() if counts.num_columns else 0
    for shard in range(most or 0):
        anonymize_shard(shard, lake, keys, contract=contract, events_contract=events_contract, k=k)


def _shards_of(batch_id: str, lake: Lake) -> list[Shard]:
    """Return the shards of a batch: the number was fixed when the batch was ingested."""
    rows = lake.scan(BATCHES, columns=["shards"], where=pc.field("batch_id") == batch_id)
    count = (rows["shards"][0].as_py() if rows.num_rows else None) or 1
    return [Shard(index, count) for index in range(count)]


def _is_wanted(row: Mapping[str, Any], wanted: set[str] | None, before: datetime | None) -> bool:
    if wanted is None or row["batch_id"] in wanted:
        return True
    return before is not None and before - LOOK_BACK <= row["finished_at"] < before


@dataclass(frozen=True)
class _Job:
    lake: Lake
    keys: PseudonymKeys
    contract: Contract | None
    events_contract: Contract | None
    k: int
    memory_limit: str


def _anonymize(batch_ids: list[str], shard: Shard, job: _Job) -> Mapping[str, int]:
    """Bring the rows of some batches and one shard into events together; skip rows that are there already.

    Returns:
        The rows that lost a quasi-identifier, by its name.
    """
    lake = job.lake
    for _ in range(ATTEMPTS):
        lacking = set(lake.lacking(EVENTS, map(shard.key, batch_ids)))
        waiting = [batch_id for batch_id in batch_ids if shard.key(batch_id) in lacking]
        if not waiting:
            return {}
        with open_workspace(job.memory_limit, writes_to=lake.url) as connection:
            connection.register("raw", lake.dataset(RAW_EVENTS))
            listed = ", ".join(literal(batch_id) for batch_id in waiting)
            rows = f"SELECT row_number() OVER () AS _place, * FROM raw WHERE batch_id IN ({listed})"
            connection.execute(f"CREATE TABLE taken AS {rows} AND {shard.sql()}")
            grouping = Grouping(job.k)
            if shard.count > 1:  # all shoppers of the batches are counted, so that the shards decide alike
                grouping = replace(grouping, population="population")
                connection.execute(f"CREATE TABLE population AS {rows}")
            connection.unregister("raw")
            try:
                taken = anonymize_taken(
                    connection,
                    [shard.key(batch_id) for batch_id in waiting],
                    lake,
                    job.keys,
                    contract=job.contract,
                    events_contract=job.events_contract,
                    grouping=grouping,
                )
            except LakeConflictError:
                continue
            return taken.left_out
    raise LakeConflictError(f"other writers kept changing {EVENTS} of {lake.url}; run again")


@dataclass(frozen=True)
class Taken:
    """The rows of one commit to events.

    Attributes:
        written: whether this call wrote them; False if rows of their key had been committed before.
        left_out: the rows that lost a quasi-identifier, by its name.
    """

    written: bool
    left_out: Mapping[str, int] = field(default_factory=dict)


def anonymize_taken(
    connection: DuckDBPyConnection,
    key: str | Sequence[str],
    lake: Lake,
    keys: PseudonymKeys,
    *,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    grouping: Grouping | None = None,
) -> Taken:
    """Bring the relation `taken` of a scratch database, rows of raw_events, into events.

    Args:
        connection: holds `taken`, a table or a view in which `_place` numbers the rows.
        key: the name of these rows, such as a batch id; or several names.
        lake: holds the tables; raw_events holds these rows already.
        keys: the pseudonym keys.
        contract: the contract of raw_events; the packaged contract by default.
        events_contract: the contract of events; the packaged contract by default.
        grouping: how many shoppers share device and place; by default K of `taken`, in each batch.

    Raises:
        AnonymizeError: rows that break the contract of events.
    """
    contract = contract or load_contract(RAW_EVENTS)
    for attempt in range(ATTEMPTS):
        version = lake.version(EVENTS)
        lake_key = key_of_lake(lake, keys, version)
        derived = derive_sessions(connection, lake.dataset(RAW_EVENTS))
        written = None if version is None else lake.dataset(EVENTS, version)
        among = replace(grouping or Grouping(), written=written)
        anonymizer = Anonymizer(connection, contract, lake_key, derived, among)
        refuse_broken(anonymizer, events_contract or load_contract(EVENTS), f"batch {key}")
        left_out = anonymizer.generalizer.left_out()
        if left_out:
            log.info("batch %s: %s", key, describe(left_out, among.k))
        if not derived:
            done = lake.append(EVENTS, anonymizer.query(), key=key, also=lake_key.mark)
            return Taken(done, left_out if done else {})
        try:  # A writer who commits after raw_events was read here may share a session with these rows.
            if version is not None:
                version = _move_sessions(lake, anonymizer, version)
            at = -1 if version is None else version
            rows, mark = anonymizer.query(), lake_key.mark
            done = lake.append(EVENTS, rows, key=key, also=mark, if_version=at)
            return Taken(done, left_out if done else {})
        except LakeConflictError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _move_sessions(lake: Lake, anonymizer: Anonymizer, version: int) -> int:
    """Correct the session of events of other batches; return the table's version."""
    moved = anonymizer.moved_sessions()
    if not moved.num_rows:
        return version
    days = sorted(pc.unique(moved["event_date"]).to_pylist())
    is_moved = pc.field("event_date").isin(days) & pc.field("event_id").isin(
        moved["event_id"].combine_chunks()
    )
    now = lake.scan(EVENTS, columns=["event_id", "session_id"], where=is_moved, version=version)
    both = moved.join(now, "event_id", join_type="inner", right_suffix="_now")
    changed = both.filter(pc.not_equal(both["session_id"], both["session_id_now"]))
    if not changed.num_rows:
        return version
    rows = changed.select(["event_id", "session_id"])
    return lake.amend(EVENTS, rows, on="event_id", days=days, if_version=version)


def refuse_other_columns(contract: Contract, events_contract: Contract) -> None:
    """Refuse two contracts of which events asks for a column that raw_events does not leave.

    Raises:
        AnonymizeError: the error names each field with its reason, and both files.
    """
    left = events_schema(contract)
    fields = {known.name for known in contract.fields}
    problems = []
    for asked in events_contract.fields:
        if asked.name not in left.names:
            why = "drops" if asked.name in fields else "does not have"
            problems.append(f"{asked.name}, which raw_events {why}")
        elif left.field(asked.name).type != asked.arrow_type:
            kind = left.field(asked.name).type
            problems.append(f"{asked.name} as {asked.arrow_type}, which raw_events leaves as {kind}")
    if problems:
        raise AnonymizeError(
            f"{events_contract.path} asks for {'; '.join(problems)}: nothing was read. "
            f"Change {contract.path}, or take the fields out of the contract of events"
        )


def refuse_broken(anonymizer: Anonymizer, contract: Contract, name: str) -> None:
    """Refuse rows that would break the contract of events.

    Raises:
        AnonymizeError: rows would break the contract; the error names each rule and its number of rows.
    """
    refuse_other_columns(anonymizer.contract, contract)
    broken = anonymizer.broken(contract)
    if broken:
        raise AnonymizeError(
            f"{name} would break the contract of events, rows by rule: {broken}; nothing was committed. "
            f"Compare the treatments in raw_events with the rules in {contract.path.name}"
        )
