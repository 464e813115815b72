"""The rules for services: CI has all services, and fast tests start none."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

_forbidden = False


def require_service(reason: str) -> NoReturn:
    """Skip the test, and say what to install; fail in CI, where all services are installed."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"CI must run this test: {reason}")
    pytest.skip(reason)


def forbid_services() -> None:
    """Let `starts_service` fail in this process from now on."""
    global _forbidden  # noqa: PLW0603  one switch a process, set once from the command line
    _forbidden = True


def starts_service(name: str) -> None:
    """Fail if this process runs only fast tests; each function that starts a service calls this first."""
    if _forbidden:
        pytest.fail(f"a fast test starts {name}: mark it with pytest.mark.service")
