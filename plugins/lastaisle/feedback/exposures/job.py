"""The settings that all batches of exposures share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from data_contracts.contract import Contract, load_contract
from lastaisle.feedback.exposures.formats import exposure_adapter, makes_pseudonyms
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.sources import Adapter
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, EXPOSURES
from lastaisle.privacy.domains import LakeKey, key_of_lake
from lastaisle.privacy.keys import ENVIRONMENT, KeyFileError, PseudonymKeys
from lastaisle.settings import Settings


@dataclass(frozen=True)
class ExposureJob:
    """The settings that all batches of exposures share.

    Attributes:
        lake: holds the tables.
        form: the adapter.
        keys: the pseudonym keys. The service's feedback holds pseudonyms, and needs none.
        contract: the contract of exposures.
        options: see `IngestOptions`; all but `shards` count here.
        now: the time of ingestion, with a time zone; the current time by default.

    Raises:
        KeyFileError: another key made the events of the lake.
    """

    lake: Lake
    form: Adapter
    keys: PseudonymKeys | None = None
    contract: Contract = field(default_factory=lambda: load_contract(EXPOSURES))
    options: IngestOptions = field(default_factory=IngestOptions)
    now: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a wrong key before any row is committed."""
        self.lake_key()

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        lake: Lake,
        keys: PseudonymKeys | None,
        *,
        form: str = "",
        accept_schema_change: bool = False,
    ) -> Self:
        """Return the job that the settings name.

        Args:
            settings: the settings.
            lake: holds the tables.
            keys: the pseudonym keys; None suffices to list files, and for the service's feedback.
            form: the name of the format; default: LASTAISLE_EXPOSURES_FORMAT.
            accept_schema_change: whether fields may disappear or change their type.
        """
        adapter = exposure_adapter(form or settings.feedback.format)
        options = IngestOptions.from_settings(settings, accept_schema_change=accept_schema_change)
        return cls(lake, adapter, keys, options=options)

    @property
    def keys_of_erased(self) -> PseudonymKeys | None:
        """The keys that tell the rows of erased shoppers."""
        return self.keys

    @property
    def identity(self) -> str:
        """The format and the use; the same file may be read for events, too."""
        return f"exposures {self.form.identity}"

    def lake_key(self) -> LakeKey | None:
        """Return the key of the lake's pseudonyms; None without keys."""
        if self.keys is None:
            return None
        return key_of_lake(self.lake, self.keys, self.lake.version(EVENTS))

    def require_key(self) -> LakeKey | None:
        """Return the key of the lake's pseudonyms; None for a format that needs none.

        Raises:
            KeyFileError: the format holds the shop's own ids, and there is no key.
        """
        key = self.lake_key()
        if key is None and makes_pseudonyms(self.form):
            raise KeyFileError(
                f"the format {self.form.name} holds the shop's own ids of shoppers, and there is no key to "
                f"make pseudonyms: name the key file, or set {ENVIRONMENT}"
            )
        return key
