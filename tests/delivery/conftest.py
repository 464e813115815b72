"""A lake for the table of messages."""

import pytest

from lastaisle.lake import Lake


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))
