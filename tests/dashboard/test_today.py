"""The page Today: the champion, fresh data, decisions, alerts, and what waits for a person."""

import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from lastaisle.dashboard.access import token_access
from lastaisle.dashboard.app import create_app
from lastaisle.dashboard.figures.today import Volume
from lastaisle.dashboard.render import Waiting
from lastaisle.errors import RegistryError
from lastaisle.lake.tables import ALERTS, ALERTS_SCHEMA, EVENTS
from lastaisle.monitor.alerts.log import report
from lastaisle.monitor.alerts.model import Evidence, Finding
from lastaisle.registry.ledger import PROMOTE, REFUSE, REGISTER, Ledger
from tests.dashboard.conftest import NOW, ORIGIN, TOKEN
from tests.dashboard.released import Runs, evaluation_of, move


@pytest.fixture
def runs(source):
    source.registry = Runs()
    return source.registry


@pytest.fixture
def released(source, runs):
    """Write a ledger in which version 1 serves, and version 2 was refused."""
    ledger = Ledger(source.lake, source.settings.registry.model_name)
    ledger.write(move(REGISTER, "1"))
    ledger.write(move(PROMOTE, "1", number=1))
    ledger.write(
        move(REFUSE, "2", champion="1", reason="Version 2 is surely worse. And <b>bold</b>.", number=2)
    )


def page_with(source, waiting):
    app = create_app(source, token_access(TOKEN), roll_back=lambda _: "", waiting=waiting)
    client = TestClient(app, base_url=ORIGIN, headers={"Authorization": f"Bearer {TOKEN}"})
    return client.get("/").text


def test_the_page_says_which_version_serves_and_why_another_was_refused(reader, released):
    text = reader.get("/").text
    assert ">Version 1</a>" in text
    assert "Version 2 was refused; version 1 stays champion." in text
    assert "Version 2 is surely worse." in text
    assert "<b>" not in text
    assert "was registered" not in text, "registrations are no decisions"


def test_a_run_that_mlflow_lacks_is_said_and_hides_nothing(reader, released):
    text = reader.get("/").text
    assert "Its run in MLflow holds no evaluation." in text
    assert ">Version 1</a>" in text


def test_a_report_that_cannot_be_read_is_named(reader, released, runs):
    runs.stored["run-1"] = "{broken"
    text = reader.get("/").text
    assert "the evaluation of the run run-1" in text
    assert ">Version 1</a>" in text


def test_mlflow_that_does_not_answer_hides_nothing_else(reader, released, runs):
    runs.error = OSError("no such disk")
    text = reader.get("/").text
    assert "cannot be read: no such disk" in text
    assert ">Version 1</a>" in text


def test_the_recall_of_the_gate_is_shown_with_its_interval(reader, released, runs):
    runs.stored["run-1"] = evaluation_of("run-1", 0.61234)
    text = reader.get("/").text
    assert ">0.6123</a>" in text
    assert "0.6023 to 0.6223" in text


def test_open_alerts_stand_on_the_page_with_evidence_and_what_to_do(reader, source):
    evidence = (Evidence("The source sent nothing.", query="SELECT 1"),)
    for severity in ("warning", "critical"):
        report(
            source.lake,
            Finding("missing_data", severity, {"source": severity}, f"{severity} news", NOW, evidence),
        )
    text = reader.get("/").text
    assert "2 open" in text
    assert text.index("critical news") < text.index("warning news")
    assert "docs/alerts.md#missing_data" in text
    assert "SELECT 1" in text


def test_an_alert_that_cannot_be_read_is_named(reader, source):
    row = {"entry": 0, "at": NOW, "change": "opened", "alert_id": "x", "rule": "lag", "scope": "{"}
    source.lake.append(ALERTS, pa.Table.from_pylist([row], ALERTS_SCHEMA), key="x")
    text = reader.get("/").text
    assert "row 0 of the table alerts" in text


def test_questions_to_people_are_linked(source):
    asked = Waiting("May version 3 serve?", NOW, None, "/dags/retrain_full/runs/1")
    text = page_with(source, lambda: [asked])
    assert 'href="/dags/retrain_full/runs/1"' in text
    assert "May version 3 serve?" in text


def test_questions_that_cannot_be_read_are_said(source):
    def fail():
        raise RegistryError("Airflow's database does not answer")

    text = page_with(source, fail)
    assert "Airflow&#39;s database does not answer" in text
    assert "Nothing</p>" not in text


def test_the_last_day_stands_beside_the_days_before(reader, source):
    days = [datetime(2026, 11, day, 12, tzinfo=UTC) for day in (20, 20, 22, 23, 23, 23)]
    rows = [{"occurred_at": day, "event_date": day.date(), "event_id": f"e{n}"} for n, day in enumerate(days)]
    schema = pa.schema(
        [
            ("occurred_at", pa.timestamp("us", tz="UTC")),
            ("event_date", pa.date32()),
            ("event_id", pa.string()),
        ]
    )
    source.lake.append(EVENTS, pa.Table.from_pylist(rows, schema), key="rows")
    assert source.lake.rows_by_day(EVENTS) == {
        days[0].date(): 2,
        days[2].date(): 1,
        days[3].date(): 3,
    }
    text = reader.get("/").text
    assert ">3</a> events" in text
    assert "on 2026-11-23" in text
    assert "the median of the 3 days before is" in text


def test_a_day_without_events_counts_as_none_in_the_median():
    day = datetime(2026, 11, 23, tzinfo=UTC).date()
    rows = {day - timedelta(days=2): 10, day - timedelta(days=1): 0, day: 7}
    assert Volume(rows).usual == 5
    assert Volume({day: 7}).usual is None


def test_a_page_that_is_not_ready_is_loaded_again(source):
    app = create_app(source, token_access(TOKEN), roll_back=lambda _: "", patience=0.0)
    client = TestClient(app, base_url=ORIGIN, headers={"Authorization": f"Bearer {TOKEN}"})
    for name in ("one", "two"):  # both workers are busy
        source.begin(lambda name=name: source.once(name, [], lambda: time.sleep(0.3)))
    time.sleep(0.05)
    first = client.get("/")
    assert first.status_code == 200
    assert first.headers["refresh"] == "2"
    assert "This page loads again by itself" in first.text
    for _ in range(200):
        if "refresh" not in (later := client.get("/")).headers:
            break
        time.sleep(0.02)
    assert "loads again" not in later.text
