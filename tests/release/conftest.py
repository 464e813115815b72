"""A made-up shop for the release tests: each item is followed by one of two others."""

import importlib.util
import shutil
from pathlib import Path

import pytest


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shop():
    """The module of the made-up shop."""
    return _load("made_up_shop")


@pytest.fixture(scope="session")
def empty_store(shop, tmp_path_factory):
    """A fresh MLflow database, since to create one takes seconds."""
    home = tmp_path_factory.mktemp("store")
    shop.Installation(home).registry.aliases()
    return home / "mlflow" / "mlflow.db"


@pytest.fixture
def home(shop, empty_store, tmp_path, monkeypatch):
    """An installation with three days of events, packing models without TensorFlow."""
    shop.pack_lightly(monkeypatch.setattr)
    (tmp_path / "home" / "mlflow").mkdir(parents=True)
    shutil.copy(empty_store, tmp_path / "home" / "mlflow")
    return shop.Installation(tmp_path / "home").with_events()
