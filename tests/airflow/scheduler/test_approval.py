"""Runs on a real scheduler wait for people: one is approved, and one gets no answer."""

from datetime import timedelta
from urllib.parse import quote

import httpx
import pytest

from lastaisle.ingest.run import ingest
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.registry.ledger import PROMOTE, REFUSE, Ledger
from lastaisle_airflow.ui.mounted import URL_PREFIX
from tests.airflow.scheduler.abandoning import NOW, session
from tests.services.airflow import running_airflow

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]

DAG = "retrain_full"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """An Airflow in which each release waits 20 seconds for people, with two days of sessions."""
    given = {
        "LASTAISLE_ARCHITECTURE": "cooccurrence",
        "LASTAISLE_APPROVAL": "always",
        "LASTAISLE_APPROVAL_HOURS": "0.0056",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
    }
    with running_airflow(tmp_path_factory.mktemp("approval"), (DAG,), **given) as started:
        settings = started.settings
        step = 47 * 3600 / 900
        lines = [
            line
            for number in range(900)
            for line in session(f"past-{number}", NOW - timedelta(seconds=169_200 - number * step))
        ]
        history = settings.home / "history.jsonl"
        history.write_bytes(b"\n".join(lines) + b"\n")
        keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
        ingest(str(history), "canonical", started.lake, keys, now=NOW)
        yield started


def today(airflow):
    """Return the page Today of the dashboard inside Airflow."""
    key = airflow.api.token
    return httpx.get(
        f"{airflow.api.base}{URL_PREFIX}/", headers={"Authorization": f"Bearer {key}"}, timeout=60
    )


def run_of(airflow, hours, answer=None):
    """Run a training, and answer its question; return the ended run, and its last move in the ledger."""
    body = {"conf": {"window_hours": hours}, "logical_date": None}
    run_id = airflow.api.post(f"/dags/{DAG}/dagRuns", body)["dag_run_id"]

    def found():
        return next((run for run in airflow.api.runs(DAG) if run.run_id == run_id), None)

    def waits():
        return airflow.states(found()).get("ask_people") == ["awaiting_input"]

    run = airflow.wait_for(f"{run_id} runs", found)
    airflow.wait_for(f"{run_id} waits for people", waits)
    assert airflow.states(run)["release_candidate"] == ["None"], "nothing is released before the answer"
    if answer:
        page = today(airflow).text
        assert f'href="/dags/{DAG}/runs/{quote(run_id, safe="")}/tasks/ask_people/required_actions"' in page
        airflow.api.answer(run, "ask_people", answer)
        assert "required_actions" not in today(airflow).text
    airflow.wait_for(f"the end of {run_id}", lambda: found().finished)
    return found(), Ledger(airflow.lake, airflow.settings.registry.model_name).moves()[-1]


def test_a_release_waits_and_the_answer_decides(airflow):
    approved, promotion = run_of(airflow, 24, "Approve")
    assert approved.state == "success"
    assert promotion.action in (PROMOTE, "anchor")
    moves = Ledger(airflow.lake, airflow.settings.registry.model_name).moves()
    (promoted,) = (move for move in moves if move.action == PROMOTE)
    assert "admin approved the release." in promoted.reason

    ignored, timed_out = run_of(airflow, 36)
    assert ignored.state == "success"
    assert (timed_out.action, timed_out.from_version) == (REFUSE, promoted.to_version)
    assert timed_out.reason.startswith("Nobody answered in time")
    assert airflow.states(ignored)["announce_champion"] == ["skipped"]
