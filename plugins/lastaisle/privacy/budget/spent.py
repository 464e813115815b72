"""The table `privacy_spent`: one row for each private training whose weights left its process."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.lake.tables import PRIVACY_SPENT, PRIVACY_SPENT_SCHEMA
from models.private.mechanism import Mechanism

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.lake.reader import LakeReader


@dataclass(frozen=True)
class Spending:
    """What one private training spent.

    Attributes:
        run_key: the training.
        run_id: its MLflow run. A training that was repeated, because its process died after its weights were
            written, has one spending for each run: nobody knows who saw the first weights.
        model_name: the registered model.
        architecture: which recommender learned.
        unit: whom the noise protects: a "shopper" with all sessions, or a "session".
        window_start: the first moment of the events that the training read (UTC).
        window_end: the moment after the last.
        shoppers: how many shoppers, or sessions, the training read.
        mechanism: what was released, from which trainings are composed.
        epsilon: of this training alone, at `delta`.
        delta: of this training alone.
        finished_at: when its weights were released (UTC).
    """

    run_key: str
    run_id: str
    model_name: str
    architecture: str
    unit: str
    window_start: datetime
    window_end: datetime
    shoppers: int
    mechanism: Mechanism
    epsilon: float
    delta: float
    finished_at: datetime

    def to_row(self) -> dict[str, Any]:
        """Return the row of the table."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**row, "mechanism": json.dumps(self.mechanism.to_dict(), sort_keys=True)}

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Spending:
        """Read a row of the table."""
        mechanism = Mechanism.from_dict(json.loads(row["mechanism"]))
        return cls(**{field.name: row[field.name] for field in fields(cls)} | {"mechanism": mechanism})


def record(lake: Lake, spending: Spending, *, if_version: int | None = None) -> bool:
    """Write what a training spent, once a run; return whether it was written by this call.

    Raises:
        LakeConflictError: the table is no longer at `if_version` (-1: no table yet), or other writers won
            every attempt.
    """
    rows = pa.Table.from_pylist([spending.to_row()], schema=PRIVACY_SPENT_SCHEMA)
    return lake.append(PRIVACY_SPENT, rows, key=f"privacy_spent/{spending.run_id}", if_version=if_version)


def read_spendings(lake: LakeReader, since: datetime | None = None) -> list[Spending]:
    """Return what the trainings of all models spent since a moment, the oldest first."""
    if lake.version(PRIVACY_SPENT) is None:
        return []
    where = None if since is None else pc.field("finished_at") >= since
    rows = lake.scan(PRIVACY_SPENT, where=where).to_pylist()
    return sorted(map(Spending.of_row, rows), key=lambda one: (one.finished_at, one.run_id))
