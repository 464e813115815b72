"""Search every file under the lake for ids and pseudonyms; files that did not change are searched once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from lastaisle.lake.errors import clear_errors
from lastaisle.lake.folder import TableFolder
from lastaisle.lake.lake import Lake
from lastaisle.lake.rewritten import live_files, without_views
from lastaisle.lake.tables import EVENTS, EXPOSURES, QUARANTINE, RAW_EVENTS
from lastaisle.rights.erasure.model import ORDER, SESSION, USER
from lastaisle.rights.erasure.needles import Needles
from lastaisle.rights.erasure.scan import Searched, search

_THREADS: Final = 2
_SAMPLED: Final = {
    RAW_EVENTS: (USER, SESSION, ORDER, "event_id"),
    EVENTS: (USER, SESSION, "event_id"),
    EXPOSURES: ("recommendation_id", "exposure_id"),
    QUARANTINE: ("payload",),
}
_SAMPLED_ROWS: Final = 1000
_State = tuple[str, int, float]


@dataclass
class LakeProof:
    """The files under a lake, and what was found in each.

    Attributes:
        lake: the tables.
        needles: the ids and pseudonyms.
        files: what was found, by the file's name, of the newest search.
    """

    lake: Lake
    needles: Needles
    files: dict[str, Searched] = field(default_factory=dict)
    _known: dict[_State, Searched] = field(default_factory=dict)

    def search(self) -> None:
        """Search every file that is there now and was not searched as it is."""
        folder = TableFolder(self.lake.url, self.lake.storage_options)
        with clear_errors("search the files", self.lake.url):
            states = [(name, *state) for name, state in sorted(folder.files().items())]
            new = [state for state in states if state not in self._known]
            with ThreadPoolExecutor(_THREADS) as threads:
                found = threads.map(lambda state: _search_file(folder, state[0], self.needles), new)
                self._known |= {
                    state: searched for state, searched in zip(new, found, strict=True) if searched
                }
        self.files = {state[0]: self._known[state] for state in states if state in self._known}

    def of_table(self, name: str) -> dict[str, Searched]:
        """Return what was found in the files of a table, by their names inside its folder."""
        start = f"{name}/"
        return {
            file.removeprefix(start): found for file, found in self.files.items() if file.startswith(start)
        }

    @property
    def tables(self) -> list[str]:
        """The folders under the lake."""
        return sorted({name.partition("/")[0] for name in self.files})

    def rows_by_text(self, tables: Iterable[str]) -> Counter[int]:
        """Return the places at which each text stands in the files of some tables."""
        counted: Counter[int] = Counter()
        for name in tables:
            for found in self.of_table(name).values():
                counted.update(found.texts)
        return counted


def _search_file(folder: TableFolder, name: str, needles: Needles) -> Searched | None:
    try:
        return search(folder.read(name), needles)
    except FileNotFoundError:  # another process deleted it meanwhile
        return None


def sample_of(lake: Lake) -> bytes:
    """Return some ids of the lake, so that a search avoids the bytes that most ids share."""
    texts: list[str] = []
    for name, columns in _SAMPLED.items():
        table = lake.table(name)
        for path in list(live_files(table))[:1] if table is not None else ():
            with lake.folder(name).filesystem().open_input_file(path) as stream:
                file = pq.ParquetFile(stream)
                present = [column for column in columns if column in file.schema_arrow.names]
                for batch in file.iter_batches(_SAMPLED_ROWS, columns=present):
                    rows = without_views(pa.Table.from_batches([batch]))
                    texts += [text for column in rows.columns for text in column.to_pylist() if text]
                    break
    return "\n".join(texts).encode()
