"""The commands `lastaisle bandits`: what they print, write and exit with."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.experiments.bandits.errors import BanditError
from tests.experiments.bandits.conftest import bandit, trial
from tests.experiments.bandits.shop import Shop


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Shop:
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    return Shop(tmp_path / "lake")


def run(tmp_path, *arguments: str, code: int = 0):
    file = tmp_path / "report.json"
    done = CliRunner().invoke(cli.app, ["bandits", *arguments, "--report", str(file)])
    assert done.exit_code == code, done.output
    return done, json.loads(file.read_text())


def test_bandits_learn_and_are_shown(shop, tmp_path):
    shop.start()
    shop.list(1, "new", clicked=0.5)
    shop.foreign(1, experiment="lists", arm="new")
    shop.list(4, "new")
    shop.write()
    done, report = run(tmp_path, "update")
    assert "lists: learned; 2 lists until" in done.output
    assert "left out: {'no_label': 1}" in done.output
    assert report["bandits"][0]["arms"][1]["rewards"] == 1
    done, report = run(tmp_path, "update", "lists")
    assert "lists: no news" in done.output
    done, report = run(tmp_path, "show")
    assert "lists: running, thompson, share 1" in done.output
    [shown] = report["bandits"]
    assert [(arm["arm"], arm["lists"]) for arm in shown["arms"]] == [("control", 0), ("new", 1)]
    assert sum(arm["probability"] for arm in shown["arms"]) == pytest.approx(1)
    _, report = run(tmp_path, "replay", "lists")
    assert report["is_equal"]


def test_a_lake_without_bandits_says_so(shop, tmp_path):
    done, report = run(tmp_path, "show")
    assert report["bandits"] == []
    assert "has no bandits" in done.stderr
    done, _ = run(tmp_path, "update")
    assert "no bandit runs" in done.stderr


def test_a_bandit_that_cannot_run_is_shown_and_ends_the_update_with_its_code(shop, tmp_path):
    shop.start(trial(bandit(algorithm="magic"), "bad"))
    shop.start(trial(bandit(), "good"))
    shop.list(1, "new", name="good")
    shop.list(4, "new", name="good")
    shop.write()
    _, report = run(tmp_path, "update", code=ExitCode.WRONG_REQUEST)
    assert "algorithm 'magic' is none of" in report["bandits"][0]["problem"]
    assert report["bandits"][1]["changed"]
    _, report = run(tmp_path, "show")
    assert "algorithm 'magic' is none of" in report["bandits"][0]["reason"]


def test_an_unknown_name_is_refused(shop):
    shop.start()
    for command in ("show", "update", "replay"):
        done = CliRunner().invoke(cli.app, ["bandits", command, "other"])
        assert isinstance(done.exception, BanditError)
        assert "named" in str(done.exception)
        assert "lists" in str(done.exception)


def test_states_that_differ_exit_with_their_code(shop, tmp_path):
    shop.start(trial(bandit(posterior={"totals": {"new": (9, 9, 0.5)}, "outcomes_version": 1})))
    shop.list(1, "new")
    shop.list(4, "new")
    shop.write()
    _, report = run(tmp_path, "replay", "lists", code=ExitCode.COUNTS_DIFFER)
    assert not report["is_equal"]
