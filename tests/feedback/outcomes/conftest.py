"""The lake of these tests."""

from __future__ import annotations

import pytest

from lastaisle.lake import Lake


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")
