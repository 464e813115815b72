"""Fixtures of a made-up shop: one of two other items follows each item."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest

from tests.shops import made_up_shop


@pytest.fixture(scope="session")
def shop() -> ModuleType:
    """The module of the made-up shop."""
    return made_up_shop


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A fresh MLflow database. To create a database takes seconds, so tests copy this file."""
    home = tmp_path_factory.mktemp("store")
    made_up_shop.Installation(home).registry.aliases()
    return home / "mlflow" / "mlflow.db"


@pytest.fixture(scope="session")
def templates(tmp_path_factory) -> Path:
    """A folder for copies of homes that several tests begin with; see `Installation.released`."""
    return tmp_path_factory.mktemp("templates")


@pytest.fixture
def home(empty_store, templates, tmp_path, monkeypatch) -> made_up_shop.Installation:
    """An installation with three days of events. It packs models without TensorFlow."""
    made_up_shop.pack_lightly(monkeypatch.setattr)
    (tmp_path / "home" / "mlflow").mkdir(parents=True)
    shutil.copy(empty_store, tmp_path / "home" / "mlflow")
    return made_up_shop.Installation(tmp_path / "home", templates).with_events()
