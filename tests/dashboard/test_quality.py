"""The page Quality: evaluations of versions beside what shoppers did with their lists."""

import json
import re
import threading
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from lastaisle.dashboard.access import token_access
from lastaisle.dashboard.app import create_app
from lastaisle.registry.ledger import PROMOTE, REFUSE, REGISTER, Ledger
from tests.dashboard.conftest import ORIGIN, TOKEN
from tests.dashboard.released import Runs, evaluation_of, move
from tests.dashboard.shop_rows import hour_rows, write_rows


@pytest.fixture
def runs(source):
    """Three versions: the first serves, the second was refused, the third waits for the gate."""
    ledger = Ledger(source.lake, source.settings.registry.model_name)
    ledger.write(move(REGISTER, "1"))
    ledger.write(move(PROMOTE, "1", number=1))
    ledger.write(move(REGISTER, "2", champion="1", number=2))
    ledger.write(move(REFUSE, "2", champion="1", number=3))
    ledger.write(move(REGISTER, "3", champion="2", number=4))
    source.registry = found = Runs()
    found.stored = {
        "run-1": evaluation_of("run-1", 0.6, new=0.5),
        "run-2": evaluation_of("run-2", 0.2),
        "run-3": evaluation_of("run-3", 0.7, new=0.55),
    }
    return found


@pytest.fixture
def figures(source):
    """Write what shoppers did with the lists of version 1."""
    hour = datetime(2026, 11, 20, 8, tzinfo=UTC)
    rows = hour_rows(hour, version="1", sessions=1000, orders=30, clicked=200)
    write_rows(source.lake, rows + hour_rows(hour, version="1", placement="product", orders=1), "rows")


def charts(text):
    figure = r'<figure class="chart" id="chart-([^"]+)">(?:(?!</figure>).)*?<script[^>]*>(.*?)</script>'
    return {name: json.loads(data) for name, data in re.findall(figure, text, re.S)}


def line(chart, name):
    return next(one["values"] for one in chart["series"] if one["name"] == name)


def test_evaluations_stand_beside_what_shoppers_did(reader, runs, figures):
    text = reader.get("/quality", params={"placement": "checkout"}).text
    drawn = charts(text)
    assert drawn["recall"]["x"] == [1, 2, 3]
    assert line(drawn["recall"], "any next item") == [0.6, 0.2, 0.7]
    assert line(drawn["recall"], "new items") == [0.5, None, 0.55]
    assert line(drawn["recall"], "refused") == [None, 0.2, None]
    assert line(drawn["precision"], "any next item") == [0.03, 0.01, 0.035]
    assert line(drawn["conversion"], "shoppers") == [0.03, None, None]
    assert drawn["recall"]["series"][0]["low"] == [0.59, 0.19, 0.69]
    assert "0.5900 to 0.6100" in text
    assert ">3.00 %</a>" in text
    assert '<span class="badge bad">refused</span>' in text
    assert text.index('href="/releases/3"') < text.index('href="/releases/1"'), "the newest stands first"


def test_each_row_links_to_its_run_and_its_card(reader, runs):
    text = reader.get("/quality").text
    assert re.search(r'href="[^"]*/runs/run-1\?workflowType=machine_learning"[^>]*>run<', text)
    assert re.search(r'href="[^"]*run-1/artifacts/card/model_card.html[^"]*"[^>]*>card<', text)


def test_the_length_of_the_lists_is_chosen(reader, runs):
    drawn = charts(reader.get("/quality", params={"k": "1"}).text)
    assert line(drawn["recall"], "any next item") == pytest.approx([0.06, 0.02, 0.07])


@pytest.mark.parametrize(
    "wrong", [{"k": "7"}, {"k": "x"}, {"placement": "moon"}, {"page": "0"}, {"page": "-"}]
)
def test_a_wrong_choice_is_refused_in_words(reader, runs, figures, wrong):
    answer = reader.get("/quality", params=wrong)
    assert answer.status_code == 422
    assert f"{next(iter(wrong))} is" in answer.text


def test_a_page_that_there_is_not_is_not_found(reader, runs):
    assert reader.get("/quality", params={"page": "2"}).status_code == 404


def test_an_evaluation_that_cannot_be_read_is_named_and_hides_no_other(reader, runs):
    runs.stored["run-2"] = "{"
    text = reader.get("/quality").text
    assert "The evaluation of the run run-2" in text
    assert line(charts(text)["recall"], "any next item") == [0.6, None, 0.7]


def test_a_version_without_an_evaluation_is_shown_without_figures(reader, runs):
    del runs.stored["run-3"]
    text = reader.get("/quality").text
    assert 'href="/releases/3"' in text
    assert "cannot be read" not in text


def test_without_mlflow_the_ledger_and_the_shoppers_are_shown(reader, runs, figures):
    runs.error = OSError("no such disk")
    text = reader.get("/quality").text
    assert "cannot be read: no such disk" in text
    assert 'href="/releases/2"' in text
    assert line(charts(text)["conversion"], "shoppers")[0] == pytest.approx(31 / 1100, rel=1e-4)


def test_versions_are_read_once_after_their_decision(source, reader, runs):
    reader.get("/quality")
    first = list(runs.read)
    reader.get("/quality")
    assert runs.read == first
    assert sorted(first) == ["run-1", "run-2", "run-3"]


def test_evaluations_that_are_still_being_read_are_counted(source, runs):
    go = threading.Event()
    read = runs.read_text
    runs.read_text = lambda run_id, path: go.wait(10) and read(run_id, path)
    app = create_app(source, token_access(TOKEN), roll_back=lambda _: "", patience=0.3)
    client = TestClient(app, base_url=ORIGIN, headers={"Authorization": f"Bearer {TOKEN}"})
    answer = client.get("/quality")
    assert "The evaluations of 3 versions are still being read" in answer.text
    assert answer.headers["refresh"]
    go.set()
    for _ in range(200):
        if "refresh" not in (answer := client.get("/quality")).headers:
            break
        threading.Event().wait(0.02)
    assert line(charts(answer.text)["recall"], "any next item") == [0.6, 0.2, 0.7]
