"""A small catalogue in a real lake, and the part of a model that a shelf asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lastaisle.lake import Lake
from lastaisle.lake.tables import ITEMS, ITEMS_SCHEMA
from lastaisle.settings import Settings

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


class Model:
    """The part of a CheckoutModel that a shelf reads."""

    def __init__(self, *ids: str) -> None:
        self.items = np.array(["", *ids], object)
        self.index = {item: row for row, item in enumerate(ids, start=1)}


def settings_of(folder: Path, **serve: Any) -> Settings:
    """Return settings whose home is a folder."""
    return Settings.of(home=folder, **{f"serve_{name}": value for name, value in serve.items()})


def row(item_id: str, **values: Any) -> dict[str, Any]:
    """Return one row of the table `items`."""
    return {"item_id": item_id, "valid_from": YESTERDAY, "available": True, "removed": False, **values}


def store(settings: Settings, *rows: dict[str, Any]) -> None:
    """Commit rows of the catalogue."""
    table = pa.Table.from_pylist(list(rows), schema=ITEMS_SCHEMA)
    lake = Lake(settings.lake.url)
    lake.append(ITEMS, table, key=f"{lake.version(ITEMS)} {rows}")
