"""The kinds of tests: with a service, with a real model, and all others, which `--fast` runs.

A test is of kind `service` if it uses one of SERVICE_FIXTURES, or if it is marked so. A test file is of kind
`training` if it sets `pytestmark`, and a single test if it has the mark. With `--fast`, a test of no kind
that starts a service or imports TensorFlow fails, and the error names the missing mark.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.services.required import forbid_services

#: The fixtures that start services.
SERVICE_FIXTURES = frozenset({"airflow", "broker", "celery", "collector", "make_collector", "s3", "standing"})
LEFT_OUT = ("service", "training")
#: Services that many files share. Each ends with the last test that uses it, not with the last test of all.
SHARED_SERVICES = ("hourly_airflow", "kafka_airflow", "broker")
#: Files and folders whose tests run in one worker: those of a real scheduler, and all others of the broker.
GROUPS = {
    "tests/airflow/scheduler/": "airflow",
    "tests/collect/test_kafka_sink.py": "broker",
    "tests/faults/test_kafka.py": "broker",
    "tests/faults/test_soak.py": "broker",
    "tests/ingest/kafka/": "broker",
    "tests/kafka/": "broker",
}
#: The slowest files, the slowest first, so that no worker begins a slow file when the other worker ends.
LONGEST = (
    "tests/airflow/scheduler/test_kafka_runs.py",
    "tests/airflow/scheduler/test_abandonment_runs.py",
    "tests/airflow/scheduler/test_hours.py",
    "tests/airflow/scheduler/test_abandonment_files.py",
    "tests/airflow/scheduler/test_feedback_runs.py",
    "tests/airflow/scheduler/test_backfill.py",
    "tests/airflow/scheduler/test_executors.py",
    "tests/airflow/scheduler/test_demo.py",
    "tests/faults/test_kafka.py",
    "tests/training/test_tune.py",
    "tests/release/test_kill.py",
    "tests/release/test_release.py",
    "tests/models/sequential/test_sequence_models.py",
    "tests/models/serving/test_export.py",
    "tests/training/test_refresh.py",
    "tests/release/test_online.py",
    "tests/faults/test_files.py",
)
_TRAINING_FILE = re.compile(r"^pytestmark\b.*\bmark\.training\b", re.MULTILINE)


def group_of(nodeid: str) -> str:
    """Name the group of a test: its file, or the entry of GROUPS that holds the file."""
    file = nodeid.partition("::")[0]
    return next((group for place, group in GROUPS.items() if file.startswith(place)), file)


class GroupScheduling(LoadScopeScheduling):
    """Sends the tests of a group to one worker, one file after the other, since they share fixtures.

    The mark `xdist_group` of xdist 3.8 has no effect with pytest 9.2, which does not read `Item._nodeid`.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


class TensorFlowForbidden:
    """Refuse the import of TensorFlow, which takes seconds, in tests without the mark."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Fail for TensorFlow, and leave other modules to the other finders."""
        if name == "tensorflow":
            raise AssertionError("a fast test imports TensorFlow: mark it with pytest.mark.training")
        return None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --fast."""
    parser.addoption("--fast", action="store_true", help="leave out tests marked service or training")


def pytest_configure(config: pytest.Config) -> None:
    """With --fast, forbid services and TensorFlow."""
    if config.getoption("--fast"):
        sys.meta_path.insert(0, TensorFlowForbidden())
        forbid_services()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --fast, leave out the files that train models, so that their imports are left out too."""
    if not config.getoption("--fast") or not re.fullmatch(r"test_.*\.py", collection_path.name):
        return None
    return True if _TRAINING_FILE.search(collection_path.read_text(encoding="utf-8")) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    """Give each group of tests to one worker."""
    return GroupScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their fixtures, and let the longest groups start; with --fast, keep the fast tests."""
    for item in items:
        if SERVICE_FIXTURES & _fixtures(item):
            item.add_marker("service")
    places = {file: place for place, file in enumerate(LONGEST)}
    first: dict[str, int] = {}
    for item in items:  # a group begins where the first of its files stands
        place = places.get(_file(item), len(places))
        first[group_of(item.nodeid)] = min(place, first.get(group_of(item.nodeid), place))
    items.sort(key=lambda item: (first[group_of(item.nodeid)], places.get(_file(item), len(places))))
    if config.getoption("--fast"):
        left_out = [item for item in items if any(item.get_closest_marker(name) for name in LEFT_OUT)]
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End a shared service as soon as the next test of this process does not use it.

    A service that runs to the end of all tests takes processor time from them. If a later test uses the
    fixture, the service starts again.
    """
    try:
        yield
    finally:
        coming = _fixtures(nextitem) if nextitem else set()
        for name in SHARED_SERVICES:
            if name in _fixtures(item) - coming:
                _finish(item, name)


def _finish(item: pytest.Item, name: str) -> None:
    """Run the code after the `yield` of a fixture that was set up; pytest has no public call for it."""
    for definition in item._fixtureinfo.name2fixturedefs[name]:  # type: ignore[attr-defined]
        definition.finish(item._request)  # type: ignore[attr-defined]


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
