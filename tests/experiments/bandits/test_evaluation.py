"""What each arm of a bandit would have earned: estimates beside each other, or the reason for none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode, NotEnoughDataError
from lastaisle.experiments.bandits.errors import BanditError
from lastaisle.experiments.bandits.evaluation import POLICY, evaluate_bandit
from tests.experiments.bandits.conftest import bandit, trial
from tests.experiments.bandits.shop import Shop

RATES = {"control": 0.2, "new": 0.5}


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Shop:
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    return Shop(tmp_path / "lake")


def fill(shop, count=800, arms=("control", "new"), state="running"):
    """Show lists for twenty hours, of arms that are drawn with the same probability."""
    shop.start(trial(bandit(options={"horizon_hours": 1.0})), state)
    generator = np.random.default_rng(1)
    for number in range(count):
        arm = arms[generator.integers(len(arms))]
        clicked = {"clicked": 0.5} if generator.random() < RATES[arm] else {}
        shop.list(number * 20 / count, arm, items=1, propensity=1 / len(arms), **clicked)
    shop.write()


def test_each_arm_and_the_policy_get_all_estimates(shop):
    fill(shop, state="stopped")
    found = evaluate_bandit(shop.lake, "lists")
    assert (found.name, found.reward, found.lists) == ("lists", "clicked", 759)
    by_policy = {(row.policy, row.estimator): row for row in found.estimates}
    assert set(by_policy) == {
        (policy, name) for policy in ("control", "new", POLICY) for name in ("ips", "snips", "dm", "dr")
    }
    for (policy, _), row in by_policy.items():
        rate = RATES.get(policy, 0.5)
        assert row.low < rate < row.high
        assert row.value == pytest.approx(rate, abs=0.08)
        assert row.effective_sample_size > 300


def test_an_arm_that_was_hardly_shown_gets_the_reason_and_not_a_number(shop):
    fill(shop, arms=("control",))
    found = {row.policy: row for row in evaluate_bandit(shop.lake, "lists").estimates}
    assert found["control"].value is not None
    assert found["new"].value is None
    assert "which the log never shows" in found["new"].problem


def test_without_lists_or_without_the_bandit_the_error_says_why(shop):
    with pytest.raises(BanditError, match="no bandit is named 'lists'; there is none"):
        evaluate_bandit(shop.lake, "lists")
    shop.start(trial(bandit()))
    with pytest.raises(NotEnoughDataError, match="the table outcomes has no rows: run lastaisle attribute"):
        evaluate_bandit(shop.lake, "lists")
    shop.list(0, "new")
    shop.write()
    with pytest.raises(NotEnoughDataError, match="of 1 lists of the bandit lists none has a known reward"):
        evaluate_bandit(shop.lake, "lists")
    shop.start(trial(bandit(algorithm="magic"), "bad"))
    with pytest.raises(BanditError, match="algorithm 'magic' is none of"):
        evaluate_bandit(shop.lake, "bad")


def test_the_command_prints_and_writes_the_estimates(shop, tmp_path):
    fill(shop, arms=("control",))
    shop.foreign(1, experiment="lists", arm="new")
    shop.write()
    file = tmp_path / "report.json"
    done = CliRunner().invoke(cli.app, ["bandits", "evaluate", "lists", "--report", str(file)])
    assert done.exit_code == 0, done.output
    assert "of 759 lists were clicked" in done.stdout
    assert "snips" in done.stdout
    assert "new: a log of 759 lists of 759 shoppers cannot tell" in done.stderr
    assert "left out: no_label 1" in done.stderr
    report = json.loads(file.read_text())
    assert len(report["estimates"]) == 12
    missing = CliRunner().invoke(cli.app, ["bandits", "evaluate", "gone"])
    assert missing.exception.exit_code == ExitCode.WRONG_REQUEST
