"""The task of `rollback_model`."""

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.errors import RegistryError
from lastaisle_airflow.tasks import rollback as tasks
from tests.airflow.runs import DagRun

OPENED = {"to_version": None, "reason": tasks.DEFAULT_REASON, "dry_run": True, "force": False}


class Report:
    to_version, moved = "1", False

    def to_dict(self):
        moved = {"from_version": "2", "to_version": "1", "moved": False, "dry_run": True}
        return moved | {"reason": "CTR fell"}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The arguments of each rollback."""
    calls = []
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setattr(
        "lastaisle.release.rollback.rollback", lambda *_, **options: calls.append(options) or Report()
    )
    return calls


def test_the_form_as_it_opens_is_a_dry_run(asked):
    answer = tasks.move_champion.function(params=OPENED, dag_run=DagRun())
    assert (answer["version"], answer["champion_moved"]) == ("1", False)
    assert answer["words"] == "dry run: v2 to v1 would be the move, nothing moved"
    (options,) = asked
    assert (options["reason"], options["dry_run"], options["force"]) == (tasks.DEFAULT_REASON, True, False)


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_a_real_move_needs_no_typed_reason(asked, reason):
    tasks.move_champion.function(params={**OPENED, "reason": reason, "dry_run": False}, dag_run=DagRun())
    assert [options["reason"] for options in asked] == ["Rolled back by hand in Airflow"]


def test_a_real_move_brings_its_parameters(asked):
    params = {"to_version": 3, "reason": " CTR fell ", "dry_run": False, "force": True}
    tasks.move_champion.function(params=params, dag_run=DagRun())
    (options,) = asked
    assert (options["to_version"], options["reason"], options["force"]) == ("3", "CTR fell", True)


def test_a_refused_rollback_is_not_tried_again(tmp_path, monkeypatch):
    def refuse(*_, reason, **__):
        raise RegistryError(f"no such version, reason {reason!r}")

    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setattr("lastaisle.release.rollback.rollback", refuse)
    with pytest.raises(AirflowFailException, match="no such version, reason 'Rolled back by hand"):
        tasks.move_champion.function(params={**OPENED, "dry_run": False}, dag_run=DagRun())
