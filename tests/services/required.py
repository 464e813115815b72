"""What a test says when something it needs is not on this machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def require_service(reason: str) -> NoReturn:
    """Skip, saying what to install; in CI, where everything is installed, fail."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"CI must run this test: {reason}")
    pytest.skip(reason)
