"""The guards of `make test-fast`: no test starts a service or imports TensorFlow without its mark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.services import kinds, required


def test_a_service_that_starts_among_fast_tests_is_named(monkeypatch):
    monkeypatch.setattr(required, "_forbidden", True)
    with pytest.raises(pytest.fail.Exception, match=r"starts Redis: mark it with pytest\.mark\.service"):
        required.starts_service("Redis")


def test_a_service_starts_where_all_tests_run(monkeypatch):
    monkeypatch.setattr(required, "_forbidden", False)
    required.starts_service("Redis")


def test_ci_installs_every_package_that_a_test_asks_for():
    root = Path(__file__).resolve().parent.parent
    asked = {
        package
        for file in (root / "tests").rglob("*.py")
        for package in re.findall(r"require_service\(.*apt-get install ([a-z-]+)", file.read_text("utf-8"))
    }
    installed = re.findall(r"[\w-]+:([\w-]+)", (root / ".ci/services").read_text("utf-8"))
    assert {"redis-server", "postgresql"} <= asked
    assert asked - {"git"} <= set(installed), "git belongs to the hosted machines"


def test_tensorflow_among_fast_tests_is_refused_and_nothing_else():
    finder = kinds.TensorFlowForbidden()
    with pytest.raises(AssertionError, match=r"mark it with pytest\.mark\.training"):
        finder.find_spec("tensorflow")
    assert finder.find_spec("numpy") is None


@pytest.mark.parametrize(
    ("line", "left_out"),
    [
        ("pytestmark = pytest.mark.training", True),
        ("pytestmark = [pytest.mark.timeout(9), pytest.mark.training]", True),
        ("@pytest.mark.training", False),
        ("pytestmark = pytest.mark.service", False),
    ],
)
def test_a_file_that_trains_is_not_imported(line, left_out):
    assert bool(kinds._TRAINING_FILE.search(f"import pytest\n\n{line}\n")) == left_out


def test_a_shared_service_ends_with_its_last_test_and_starts_again_for_a_later_one(pytester, monkeypatch):
    monkeypatch.setattr(kinds, "SHARED_SERVICES", ("store", "broker"))
    pytester.makepyfile(
        """
        import pytest

        said = []

        @pytest.fixture(scope="session")
        def broker():
            said.append("start broker")
            yield
            said.append("end broker")

        @pytest.fixture(scope="session")
        def store(broker):
            said.append("start store")
            yield
            said.append("end store")

        def test_one(store):
            pass

        def test_two(store):
            assert said == ["start broker", "start store"]

        def test_three(broker):
            assert said[2:] == ["end store"]

        def test_four():
            assert said[3:] == ["end broker"]

        def test_five(broker):
            assert said[4:] == ["start broker"]
        """
    )
    pytester.runpytest_inprocess("-p", "tests.services.kinds").assert_outcomes(passed=5)


def test_files_that_share_a_service_run_in_one_worker():
    broker = {kinds.group_of(f"tests/{file}::test_one[a@b]") for file in ("kafka/a.py", "ingest/kafka/b.py")}
    assert broker == {"broker"}
    assert kinds.group_of("tests/airflow/scheduler/test_demo.py::TestDemo::test_one") == "airflow"
    assert (
        kinds.group_of("tests/airflow/tasks/test_drift.py::test_one") == "tests/airflow/tasks/test_drift.py"
    )
    assert kinds.GroupScheduling._split_scope(None, "tests/kafka/a.py::test_one") == "broker"


def test_every_group_names_files_that_exist(pytestconfig):
    places = (*kinds.GROUPS, *kinds.LONGEST)
    assert not [place for place in places if not (pytestconfig.rootpath / place).exists()]
