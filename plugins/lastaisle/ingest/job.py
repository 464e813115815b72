"""The input of ingestion: one batch of rows, and the settings that all batches of a run share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

from data_contracts.contract import Contract, load_contract
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.sources import Adapter
from lastaisle.lake import Lake, LakeConflictError
from lastaisle.lake.tables import EVENTS
from lastaisle.privacy.anonymize import refuse_other_columns
from lastaisle.privacy.domains import key_of_lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.telemetry.shown import one_line


class OvertakenError(LakeConflictError):
    """Another run of the same batch, which began at another time, committed first: its time decides.

    Attributes:
        now: the ingestion time of the other run.
    """

    def __init__(self, batch: Batch, now: datetime) -> None:
        super().__init__(
            f"{batch.shown}: another run of batch {batch.batch_id} began at {now}; read it again"
        )
        self.now = now


@dataclass(frozen=True)
class Batch:
    """One bounded slice of a source.

    Attributes:
        batch_id: 16 hex characters made from the content. The same rows always give the same id.
        source: the name shared by batches with the same fields: a topic, or the logs of one format in one
            place.
        source_file: the address of the rows, as the tables name it.
        format: the name of the adapter.
        part: the position of the batch in its file, from 0.
        offsets: keys with stamps that the commits carry beside the key of the batch; see `Lake.append`.
        plan: keys with stamps that only the first commit of the batch carries. That commit says that the
            batch has begun. A run with another plan for the same batch is overtaken.
    """

    batch_id: str
    source: str
    source_file: str
    format: str
    part: int = 0
    offsets: Mapping[str, int] = field(default_factory=dict)
    plan: Mapping[str, int] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The address of the rows in one line, for logs and messages."""
        return one_line(self.source_file)


class Job(Protocol):
    """What every ingestion has, of logs, a catalogue or exposures; see the attributes of `Ingestion`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def lake(self) -> Lake:
        """The lake that holds the tables."""

    @property
    def form(self) -> Adapter:
        """The adapter."""

    @property
    def contract(self) -> Contract:
        """The contract of the rows."""

    @property
    def identity(self) -> str:
        """The name of what reads a file; under another identity a known file is read anew."""

    @property
    def options(self) -> IngestOptions:
        """The options of the ingestion."""

    @property
    def now(self) -> datetime | None:
        """The time of ingestion; None for the current time."""


class RowJob(Job, Protocol):
    """What every ingestion of rows of shoppers has."""

    @property
    def keys_of_erased(self) -> PseudonymKeys | None:
        """The keys that tell the rows of erased shoppers; None while nobody was erased."""


@dataclass(frozen=True)
class Ingestion:
    """The settings that all batches of an ingestion share.

    Attributes:
        lake: holds the tables.
        form: the adapter.
        contract: the contract of raw_events.
        options: see `IngestOptions`.
        keys: the pseudonym keys. Without keys the rows wait in raw_events for `anonymize_pending`.
        events_contract: the contract of events; the packaged contract by default.
        now: the time of ingestion, with a time zone; the current time by default.
        tombstone_keys: the keys that tell the rows of erased shoppers, where `keys` is None.

    Raises:
        AnonymizeError: the contract of events asks for a column that raw_events does not leave.
        KeyFileError: another key made the events of the lake.
    """

    lake: Lake
    form: Adapter
    contract: Contract
    options: IngestOptions = field(default_factory=IngestOptions)
    keys: PseudonymKeys | None = None
    events_contract: Contract | None = None
    now: datetime | None = None
    tombstone_keys: PseudonymKeys | None = None

    @property
    def keys_of_erased(self) -> PseudonymKeys | None:
        """The keys that tell the rows of erased shoppers."""
        return self.keys or self.tombstone_keys

    @property
    def identity(self) -> str:
        """The identity of the adapter."""
        return self.form.identity

    def __post_init__(self) -> None:
        """Refuse contracts that do not fit together, and a wrong key, before any row is committed."""
        refuse_other_columns(self.contract, self.events_contract or load_contract(EVENTS))
        if self.keys is not None:
            key_of_lake(self.lake, self.keys, self.lake.version(EVENTS))
