"""Two versions side by side, and the way back, over real versions in MLflow."""

import pytest
from starlette.testclient import TestClient

from lastaisle.dashboard.access import HEADER, token_access
from lastaisle.dashboard.app import create_app
from lastaisle.dashboard.figures.comparison import metric_order
from lastaisle.dashboard.pages import comparison
from lastaisle.dashboard.run import roll_back
from lastaisle.dashboard.source import Source
from lastaisle.errors import RegistryError
from lastaisle.registry.ledger import Ledger
from tests.dashboard.conftest import ORIGIN, TOKEN
from tests.dashboard.ledgers import write_ledger
from tests.dashboard.reading import text_of


@pytest.fixture
def released(home):
    """A dashboard over two versions that were promoted one after the other."""
    for day in (1, 2):
        home.day(day)
    source = Source(home.settings)
    app = create_app(source, token_access(TOKEN), roll_back=lambda request: roll_back(source, request))
    headers = {"Authorization": f"Bearer {TOKEN}", "Origin": ORIGIN, HEADER: "1"}
    return source, TestClient(app, base_url=ORIGIN, headers=headers)


@pytest.mark.training
def test_two_versions_are_compared_and_the_older_is_champion_again(released):
    source, client = released
    told = text_of(client.get("/releases/compare", params={"one": "1", "other": "2"}))
    assert "Both versions were asked in 300 sessions" in told
    assert "A real session" in told
    assert "Churn: share of a list of 20 that differs - -" in told
    assert "recall@20" in told
    ledger = Ledger(source.lake, source.settings.registry.model_name)
    assert ledger.standing().champion == "2"
    body = {"to_version": "1", "reason": "Version 2 shows sold out items."}
    answer = client.post("/releases/roll-back", json=body)
    assert answer.text == "Version 1 is champion now. Services load it within seconds."
    move = ledger.moves()[-1]
    assert (move.action, move.to_version, move.reason) == ("rollback", "1", body["reason"])
    assert source.registry.aliases()["champion"] == "1"
    again = client.post("/releases/roll-back", json=body)
    assert (again.status_code, again.text) == (200, "Version 1 is champion already: nothing moved.")


@pytest.mark.parametrize(
    ("choice", "status"),
    [
        ({}, 422),
        ({"one": "1"}, 422),
        ({"one": "1", "other": "9"}, 404),
        ({"one": "<b>", "other": "1"}, 404),
    ],
)
def test_a_wrong_choice_is_refused_in_words(reader, source, choice, status):
    write_ledger(source)
    answer = reader.get("/releases/compare", params=choice)
    assert answer.status_code == status
    assert "There is no such page" in answer.text
    assert "<b>" not in answer.text


def test_versions_that_cannot_be_asked_hide_no_other_part(reader, source, monkeypatch):
    write_ledger(source)

    def refuse(*_):
        raise RegistryError("version 1 cannot be asked")

    monkeypatch.setattr(comparison, "compare_lists", refuse)
    monkeypatch.setattr(comparison, "measured_in", lambda *_: None)
    told = text_of(reader.get("/releases/compare", params={"one": "1", "other": "2"}))
    assert "This part cannot be read: version 1 cannot be asked" in told
    assert "At their own gates" in told


def test_the_metrics_that_matter_come_first():
    names = ["coverage@20", "mrr@5", "recall@5", "recall@20", "precision@20", "other"]
    assert metric_order(names) == [
        *("recall@20", "recall@5", "precision@20", "mrr@5", "coverage@20", "other"),
    ]
