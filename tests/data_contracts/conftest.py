"""A contract to edit, as a user would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_contracts.document import PACKAGED

Edit = Callable[..., Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Return a function that writes a copy of raw_events with one passage replaced, and gives its path."""

    def edit(old: str, new: str, contract: str = "raw_events") -> Path:
        text = (PACKAGED / f"{contract}.odcs.yaml").read_text(encoding="utf-8")
        assert old in text, f"the packaged contract no longer holds {old!r}"
        path = tmp_path / "edited.odcs.yaml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path

    return edit


@pytest.fixture
def written(tmp_path: Path) -> Edit:
    """Return a function that writes a small contract with some fields and entries of quality."""

    def write(
        *,
        fields: dict[str, Any] | None = None,
        quality: list[dict[str, Any]] | None = None,
        field_quality: list[dict[str, Any]] | None = None,
        name: str = "small",
        **changes: Any,
    ) -> Path:
        columns = fields or {
            "word": {"logicalType": "string"},
            "number": {"logicalType": "integer"},
            "price": {"logicalType": "number"},
        }
        properties = [
            {"name": column, "classification": "public", **options} for column, options in columns.items()
        ]
        properties[0]["quality"] = field_quality or []
        document = {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "id": "small",
            "version": "1.0.0",
            "status": "active",
            "schema": [{"name": "small", "properties": properties, "quality": quality or []}],
        }
        path = tmp_path / f"{name}.odcs.yaml"
        path.write_text(yaml.safe_dump(document | changes, sort_keys=False, allow_unicode=True))
        return path

    return write
