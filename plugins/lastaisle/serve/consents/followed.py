"""Read the table `consents` again and again: only the files that are new, and at no cost while none is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.lake.errors import LakeUnusableError, clear_errors
from lastaisle.lake.reader import LakeReader
from lastaisle.lake.tables import CONSENTS
from lastaisle.privacy.consents import Purpose
from lastaisle.serve.consents.refusals import Decided, rank_of

_COLUMNS: Final = ("user_id", "session_id", "purpose", "granted", "at")
_BATCH: Final = 65_536


@dataclass(frozen=True)
class TableState:
    """What was read of the table.

    Attributes:
        identity: the id of the table; a table that was made anew has another one.
        version: its version.
        files: the paths of the files of that version.
    """

    identity: str
    version: int
    files: frozenset[str]


@dataclass(frozen=True)
class Found:
    """What a look at the table found.

    Attributes:
        state: what was read until now; None while there is no table.
        parts: the new decisions, by purpose.
        anew: whether `parts` are all decisions, since rows of the table were rewritten.
    """

    state: TableState | None
    parts: Mapping[Purpose, list[Decided]]
    anew: bool


def may_have_changed(lake: LakeReader, known: TableState | None) -> bool:
    """Tell whether the table may have another version by now; of a folder this asks the disk once."""
    if "://" in lake.url:
        return True
    folder = Path(lake.table_url(CONSENTS))
    return (folder if known is None else folder / "_delta_log" / f"{known.version + 1:020}.json").exists()


def read_new(lake: LakeReader, known: TableState | None, purposes: tuple[Purpose, ...]) -> Found:
    """Read the decisions that the table got since the last look.

    Args:
        lake: where the table is.
        known: what was read until now.
        purposes: the purposes whose decisions are read.

    Raises:
        LakeUnusableError: the table cannot be read, or is gone.
    """
    table = lake.table(CONSENTS)
    if table is None and known is not None:
        raise LakeUnusableError(
            f"table {CONSENTS} of the lake {lake.url} is gone: restore it from its backup"
        )
    if table is None:
        return Found(None, {}, anew=False)
    identity, version = str(table.metadata().id), int(table.version())
    if known is not None and (known.identity, known.version) == (identity, version):
        return Found(known, {}, anew=False)
    dataset = lake.dataset(CONSENTS, version)
    fragments = {fragment.path: fragment for fragment in dataset.get_fragments()} if dataset else {}
    anew = known is None or known.identity != identity or not known.files <= fragments.keys()
    wanted = fragments.keys() if anew or known is None else fragments.keys() - known.files
    parts: dict[Purpose, list[Decided]] = {purpose: [] for purpose in purposes}
    with clear_errors(f"read table {CONSENTS}", lake.url):
        for path in sorted(wanted):
            for batch in fragments[path].to_batches(columns=list(_COLUMNS), batch_size=_BATCH):
                for purpose, decided in _by_purpose(batch, purposes):
                    parts[purpose].append(decided)
    return Found(TableState(identity, version, frozenset(fragments)), parts, anew)


def _by_purpose(batch: pa.RecordBatch, purposes: tuple[Purpose, ...]) -> Iterator[tuple[Purpose, Decided]]:
    for purpose in purposes:
        rows = batch.filter(pc.equal(batch["purpose"], purpose))
        if rows.num_rows:
            names = pc.coalesce(rows["user_id"], rows["session_id"]).to_pylist()
            moments = rows["at"].cast(pa.int64()).to_numpy(zero_copy_only=False)
            granted = rows["granted"].to_numpy(zero_copy_only=False).astype(np.int64)
            yield purpose, Decided.of(names, rank_of(moments, granted))
