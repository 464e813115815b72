"""The task of `update_online`."""

from datetime import UTC, datetime

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle_airflow.tasks import online_updates
from models.stored import ModelError
from tests.airflow.runs import DagRun


def test_an_online_update_is_skipped_without_a_champion_that_can_learn(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    champions = [None, "1"]
    monkeypatch.setattr("lastaisle.release.release.current_champion", lambda *_: champions.pop(0))
    monkeypatch.setattr("lastaisle.training.online.finished_until", lambda lake, end: end)

    def refuse(champion, lake, registry, until):
        assert until == datetime(2025, 10, 10, tzinfo=UTC)
        raise ModelError("no table of embeddings")

    monkeypatch.setattr("lastaisle.release.online.update_online", refuse)
    for message in ("no champion", "no table"):
        with pytest.raises(AirflowSkipException, match=message):
            online_updates.learn_sessions.function(dag_run=DagRun())
