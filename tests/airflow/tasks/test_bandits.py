"""The task of `update_bandit`, without a scheduler."""

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.experiments.bandits.errors import BanditError
from lastaisle_airflow.tasks.bandits import update_bandits
from tests.experiments.bandits.conftest import bandit, trial
from tests.experiments.bandits.shop import Shop


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Shop:
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    return Shop(tmp_path / "lake")


def run(names=None):
    return update_bandits.function(params={"bandits": names}, dag_run=SimpleNamespace(run_id="run-1"))


def test_without_bandits_the_task_is_skipped(shop):
    with pytest.raises(AirflowSkipException, match="no bandit runs"):
        run()


def test_bandits_learn_by_the_run_and_a_problem_is_an_error_after_the_others_learned(shop):
    shop.start(trial(bandit(), "good"))
    shop.list(1, "new", name="good")
    shop.list(4, "new", name="good")
    shop.write()
    [report] = run()
    assert report["changed"]
    assert shop.newest("good").actor == "run-1"
    shop.start(trial(bandit(algorithm="magic"), "bad"))
    shop.list(9, "control", name="good")
    shop.write()
    with pytest.raises(BanditError, match="bandit bad in the table traffic cannot run"):
        run()
    assert shop.newest("good").trial.bandit.posterior["totals"]["new"] == [2, 0, 0.5]
    assert run(["good"])[0]["name"] == "good"
