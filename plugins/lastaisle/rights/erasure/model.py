"""Whom an erasure is about, where it looks, and what it did."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from data_contracts.contract import load_contract
from data_contracts.privacy import PSEUDONYM_LENGTH, domain_key
from data_contracts.spellings import identifier
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.tables import RAW_EVENTS

if TYPE_CHECKING:
    from lastaisle.kafka.connection import KafkaConnection
    from lastaisle.lake.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings

USER: Final = "user_id"
SESSION: Final = "session_id"
ORDER: Final = "order_id"


class ErasureError(LastaisleError):
    """An erasure that cannot begin; nothing was erased. The message holds no id."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True)
class Subjects:
    """The shoppers whose data is erased.

    Attributes:
        user_ids: their ids as `raw_events` has them.
        keys: the pseudonym keys, all versions of them.
    """

    user_ids: frozenset[str] = field(repr=False)
    keys: PseudonymKeys = field(repr=False)

    @classmethod
    def of(cls, user_ids: Iterable[str], keys: PseudonymKeys) -> Self:
        """Read ids as the shop writes them.

        Raises:
            ErasureError: there is no id, or a text is no id.
        """
        read = [identifier(text) for text in user_ids]
        if not read or any(not each for each in read):
            raise ErasureError(
                f"an erasure needs ids of shoppers, each a text as {RAW_EVENTS} has it: "
                f"received {len(read)} texts, of which {sum(not each for each in read)} are no ids"
            )
        return cls(frozenset(each for each in read if each), keys)

    def __len__(self) -> int:
        return len(self.user_ids)

    @property
    def digest(self) -> str:
        """A name for these shoppers that says nothing without the key."""
        key = domain_key(self.keys.key, "/erasure")  # no domain of pseudonyms has a slash
        return hmac.digest(key, "\n".join(sorted(self.user_ids)).encode(), "sha256").hex()[:32]

    def pseudonyms(self, name: str, texts: Iterable[str]) -> frozenset[str]:
        """Return all pseudonyms of ids of a field: under each key, with domains and as older lakes made them.

        Args:
            name: the field of raw_events: USER, SESSION or ORDER.
            texts: the ids.
        """
        domain = load_contract(RAW_EVENTS).field(name).treatment.domain(name)
        secrets = [
            key for secret in self.keys.versions.values() for key in (domain_key(secret, domain), secret)
        ]
        return frozenset(
            hmac.digest(key, text.encode(), "sha256").hex()[:PSEUDONYM_LENGTH]
            for text in texts
            for key in secrets
        )


@dataclass(frozen=True)
class Topic:
    """A topic of Kafka that holds events of shoppers.

    Attributes:
        name: the topic.
        connection: the cluster.
        cluster: the name of the cluster in addresses, if topics of several are searched.
        may_be_absent: whether the topic is made with its first message, as topics of unreadable messages are.
    """

    name: str
    connection: KafkaConnection
    cluster: str = ""
    may_be_absent: bool = False

    @property
    def place(self) -> str:
        """How reports name it."""
        return "/".join(part for part in ("kafka", self.cluster, self.name) if part)


@dataclass(frozen=True)
class Places:
    """Where data of shoppers lies.

    Attributes:
        lake: the tables.
        work: a folder of its own outside the lake. The ids that an erasure found lie there until it has
            ended, in a file that only its owner may read.
        registry: MLflow; None: its runs are not searched.
        settings: the installation; None: its folders are not searched.
        folders: further folders on this machine that are searched, by the names that the report gives them;
            such as the folder of Airflow.
        topics: the topics of Kafka that hold events of shoppers.
        without_topics: why there are no topics, for the report; empty if there are, or nobody asked.
        skipped: folders inside the others that are not searched, such as the inbox of requests.
    """

    lake: Lake
    work: Path
    registry: Registry | None = None
    settings: Settings | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    topics: Sequence[Topic] = ()
    without_topics: str = ""
    skipped: Sequence[Path] = ()


@dataclass(frozen=True)
class PlaceReport:
    """What an erasure did in one place.

    Attributes:
        place: the name of the table, the folder or the service.
        kind: table, log, folder, registry or topic.
        rows: the rows that were erased; after a dry run, those that would be.
        mentioned: those of these rows that are known only because an id stands in another field.
        files_rewritten: files that were written again without these rows.
        files_deleted: old files with such rows that no newest version needs.
        entries_cleaned: entries of the table's log without texts of deleted files.
        files_scanned: files whose bytes were searched at the end.
        bytes_scanned: their bytes, those of decoded columns included.
        found: places in them at which an id or a pseudonym stood; 0 proves the erasure.
        unreadable: files that could not be decoded; their bytes were searched as they are.
        waiting: files of another writer that are no part of the table yet and hold such rows.
        unsearched: why a place could not be searched; empty if it was. Nothing is proven of such a place.
        note: what else has to be known.
    """

    place: str
    kind: str
    rows: int = 0
    mentioned: int = 0
    files_rewritten: int = 0
    files_deleted: int = 0
    entries_cleaned: int = 0
    files_scanned: int = 0
    bytes_scanned: int = 0
    found: int = 0
    unreadable: int = 0
    waiting: int = 0
    unsearched: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class VersionTouched:
    """A model version that knows something of a shopper.

    Attributes:
        version: its number; empty for a run without a version.
        run_id: its run in MLflow.
        knows: vector (an array of the shopper's own), sequences (items of sessions), or weights.
        through: the training whose window held a session of the shopper: its own, or that of the version
            from which it started.
        decided: what was done, or what the caller has to decide: lost_vector, retrain_or_retire, deleted.
    """

    version: str
    run_id: str
    knows: str
    through: str
    decided: str


@dataclass(frozen=True)
class Erased:
    """What an erasure did, without any id.

    Attributes:
        dry_run: whether nothing was changed.
        subjects: the number of shoppers.
        places: what was done in each place.
        versions: the model versions that know something of them.
        ids: the ids and pseudonyms of which every byte was searched.
        ids_in_columns: short or plain ids (17, desktop): only columns and fields of ids prove these gone.
        shared: sessions and orders that other shoppers have too; their rows without a shopper stay.
        rounds: how often the tables were searched; later rounds find rows that others wrote meanwhile.
        seconds: how long it took.
    """

    dry_run: bool
    subjects: int
    places: Sequence[PlaceReport]
    versions: Sequence[VersionTouched] = ()
    ids: int = 0
    ids_in_columns: int = 0
    shared: int = 0
    rounds: int = 0
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """The rows that were erased."""
        return sum(place.rows for place in self.places)

    @property
    def files_rewritten(self) -> int:
        """The files that were written again."""
        return sum(place.files_rewritten for place in self.places)

    @property
    def files_scanned(self) -> int:
        """The files that were searched for the proof."""
        return sum(place.files_scanned for place in self.places)

    @property
    def bytes_scanned(self) -> int:
        """The bytes that were searched for the proof."""
        return sum(place.bytes_scanned for place in self.places)

    @property
    def found(self) -> int:
        """The places at which an id or a pseudonym still stands; a real run has to end with 0."""
        return sum(place.found for place in self.places)

    @property
    def proven(self) -> bool:
        """Whether every place was searched, nothing was found, and no file of another writer waits."""
        open_places = [place for place in self.places if place.found or place.waiting or place.unsearched]
        return not self.dry_run and not open_places

    def to_dict(self) -> dict[str, Any]:
        """Return as JSON takes it; it holds no id and no pseudonym."""
        totals = ("rows", "files_rewritten", "files_scanned", "bytes_scanned", "found", "proven")
        return {
            **{name: getattr(self, name) for name in ("dry_run", "subjects", *totals)},
            "ids": self.ids,
            "ids_in_columns": self.ids_in_columns,
            "shared": self.shared,
            "rounds": self.rounds,
            "seconds": round(self.seconds, 3),
            "places": [place.to_dict() for place in self.places],
            "versions": [asdict(version) for version in self.versions],
        }
