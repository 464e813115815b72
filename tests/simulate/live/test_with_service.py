"""The live shop beside the real service: what the service keeps is what the shoppers saw and did."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import groupby
from math import sqrt

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.simulate import ShopOptions, simulate
from lastaisle.simulate.live import LiveService, LiveShop, Reactions
from models.by_name import create
from models.data.sequences import SessionLog
from models.serving.export import export_artifact
from tests.serve.running import Running
from tests.serve.toys import KEY

pytestmark = [pytest.mark.training, pytest.mark.service]

SHOP = ShopOptions(sessions_per_day=1500, items=400)
BY_POSITION = Reactions(on_shelf=1.0, off_shelf=1.0, off_style=1.0, price_pull=0.0, fatigue=1.0)
KINDS = ("shown", "clicked", "added", "bought")


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> str:
    """A model of the items that the sessions of two days viewed together."""
    events = [
        json.loads(line)
        for logs in simulate(ShopOptions(**{**vars(SHOP), "days": 2, "broken": 0.0}))
        for line in logs.lines
    ]
    views = [event for event in events if event["event_type"] == "item_viewed" and "session_id" in event]
    views.sort(key=lambda event: (event["session_id"], event["occurred_at"]))
    sessions = [
        [view["item_id"] for view in session]
        for _, session in groupby(views, lambda view: view["session_id"])
    ]
    model = create("cooccurrence")
    model.fit(SessionLog.from_lists(sessions))
    return str(export_artifact(model, tmp_path_factory.mktemp("packed"))["light"])


@pytest.fixture(scope="module")
def running(tmp_path_factory, light):
    service = Running(tmp_path_factory.mktemp("service"), "--model", light, LASTAISLE_PSEUDONYM_KEY=64 * "ab")
    yield service.start()
    service.stop()


@pytest.fixture(scope="module")
def by_position(running):
    """The truth about a day of shoppers who mind nothing but positions."""
    return LiveShop(SHOP, LiveService(running.url, KEY), BY_POSITION).day(0).truth


@pytest.fixture(scope="module")
def usual(running):
    """The truth about a day of the usual shoppers."""
    return LiveShop(SHOP, LiveService(running.url, KEY)).day(0).truth


@pytest.fixture(scope="module")
def commanded(running):
    """The report of the command, of two small days."""
    folder = running.folder / "logs"
    options = ["--out", str(folder), "--days", "2", "--sessions-per-day", "300", "--items", "400"]
    options += ["--live", running.url, "--catalogue", str(folder / "items.jsonl")]
    options += ["--report", str(folder / "report.json")]
    done = CliRunner().invoke(cli.app, ["simulate", *options], env={"LASTAISLE_SERVE_KEY": KEY})
    assert done.exit_code == 0, done.output
    assert re.search(r"popular +│ checkout", done.output)
    assert len(list(folder.glob("2025-10-0[12]/*.jsonl"))) == 2
    return json.loads((folder / "report.json").read_text())["live"]


@pytest.fixture(scope="module")
def kept(running, by_position, usual, commanded):
    """The rows that the service kept of all that, and its log."""
    running.stop()
    return running.feedback(), running.log.read_text()


def within(measured: float, expected: float, count: int) -> bool:
    """Whether a share of a count lies within four standard errors of the expected share."""
    return abs(measured - expected) <= 4 * sqrt(expected * (1 - expected) / count)


def test_the_kept_rows_are_what_shoppers_saw_and_did(kept, by_position, usual, commanded):
    rows, _ = kept
    counted: Counter = Counter()
    for truth in (by_position.as_dict(), usual.as_dict(), commanded):
        assert truth["requests"]["failed"] == truth["requests"]["refused"] == 0
        for cell in truth["positions"]:
            for kind in KINDS:
                counted[kind, cell["arm"], cell["placement"], cell["position"]] += cell[f"stored_{kind}"]
    stored = Counter((row["kind"], row["arm"], row["placement"], row["position"]) for row in rows)
    assert stored == +counted
    assert len({row["exposure_id"] for row in rows}) == len(rows)
    assert {row["experiment"] for row in rows} == {"demo"}
    assert {row["policy"] for row in rows if row["arm"] == "popular"} == {"popular"}
    assert all(sum(count for (each, *_), count in stored.items() if each == kind) > 20 for kind in KINDS)


def test_the_days_of_the_command_add_up(commanded):
    days = commanded["days"].values()
    assert len(days) == 2
    for name in ("shown", "clicked", "stored_shown"):
        assert commanded["total"][name] == sum(day["total"][name] for day in days) > 0


def test_no_raw_id_of_a_shopper_is_kept_or_logged(kept):
    rows, log = kept
    for text in (json.dumps(rows), log):
        assert "sim-u" not in text
        assert "sim-s" not in text
    assert all(row["user_id"] or row["session_id"] for row in rows)


def test_clicks_fall_with_the_position_as_the_model_of_clicks_says(by_position):
    for position in range(1, 9):
        counts = by_position.total(position=position)
        chance = BY_POSITION.attraction * position**-BY_POSITION.position_bias
        assert within(counts.ctr, chance, counts.shown), position
    assert by_position.total(position=1).ctr > 2 * by_position.total(position=8).ctr


def test_better_lists_get_more_clicks_as_the_truth_says(usual):
    model, popular = usual.total(arm="model"), usual.total(arm="popular")
    for counts in (model, popular):
        assert within(counts.ctr, counts.expected_ctr, counts.shown)
    assert model.expected_ctr > 1.5 * popular.expected_ctr
    assert model.ctr > popular.ctr
    assert usual.expected_ctr(lambda moment: usual.taste.best(moment, 10)) > model.expected_ctr
