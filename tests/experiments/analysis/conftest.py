"""What the tests of analyses share."""

from __future__ import annotations

import pytest

from lastaisle.lake import Lake

from .worlds import World


@pytest.fixture
def world(tmp_path) -> World:
    return World(Lake(tmp_path / "lake"))
