"""The tasks of `watch_releases`."""

from datetime import UTC, datetime

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lastaisle.lake import Lake
from lastaisle.registry.ledger import Ledger, Move
from lastaisle.settings import Settings
from lastaisle_airflow.tasks import watching as tasks
from lastaisle_airflow.tasks.release import actor_of
from tests.airflow.runs import DagRun


class Report:
    def to_dict(self):
        told = {"version": "1", "champion_moved": False, "rolled_back": None, "steps": []}
        return told | {"unjudged": "its lists have no complete hour yet.", "guardrails": [], "held_back": ""}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    return tmp_path


def moved(home, action, actor):
    """Write a move of version 2 to version 1."""
    ledger = Ledger(Lake(Settings.of(home=home).lake.url), "checkout-recommender")
    ledger.write(
        Move(
            move_id=f"{action}/{actor}",
            moved_at=datetime.now(UTC),
            actor=actor,
            action=action,
            model_name="checkout-recommender",
            alias="champion",
            from_version=ledger.standing().champion,
            to_version="1",
            reason="The guardrails rolled version 2 back.",
            run_id="r",
            run_key="k",
        )
    )


def test_a_try_after_a_kill_still_announces_the_rollback_of_its_run(home, monkeypatch):
    monkeypatch.setattr("lastaisle.release.guardrails.watch.watch_releases", lambda *_, **__: Report())
    moved(home, "rollback", "somebody")
    before = tasks.watch.function(dag_run=DagRun())
    assert (before["champion_moved"], before["rolled_back"]) == (False, None)
    moved(home, "rollback", actor_of(DagRun()))
    report = tasks.watch.function(dag_run=DagRun())
    assert (report["champion_moved"], report["rolled_back"]) == (
        True,
        "The guardrails rolled version 2 back.",
    )


def test_a_mistake_in_the_rules_is_not_tried_again(home, monkeypatch):
    (home / "release.yaml").write_text("steps: {shado: {}}")
    monkeypatch.setenv("LASTAISLE_RELEASE_RULES", str(home / "release.yaml"))
    with pytest.raises(AirflowFailException, match=r"line 1: steps\.shado"):
        tasks.watch.function(dag_run=DagRun())


def test_a_lake_without_figures_and_without_a_champion_is_watched_in_peace(home):
    report = tasks.watch.function(dag_run=DagRun())
    assert (report["version"], report["rolled_back"], report["champion_moved"]) == (None, None, False)
    assert "no figures yet" in report["unjudged"]


def test_a_rollback_fails_the_run_so_that_people_look():
    with pytest.raises(AirflowFailException, match=r"conversion fell. Version 1 serves\."):
        tasks.raise_alarm.function({"rolled_back": "conversion fell.", "version": "1", "steps": []})
    with pytest.raises(AirflowSkipException):
        tasks.raise_alarm.function({"rolled_back": None, "version": "1"})
