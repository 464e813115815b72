"""A contract to edit, as a user would."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
