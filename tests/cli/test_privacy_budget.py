"""`lastaisle privacy budget`: the trainings, what is left and for how long; and the line of the status."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.dashboard.figures.status import StatusReader
from lastaisle.dashboard.source import Source
from lastaisle.lake import Lake
from lastaisle.privacy.budget.spent import record
from lastaisle.settings import Settings
from models.private.accounting import epsilon_of
from tests.privacy.budget.made import WEAK, spending

NOW = datetime.now(UTC)
MORE = 20  # epsilon_of([WEAK] * 22) is at most 6, and that of 23 is above


def told(done):
    return done.returncode, done.stdout


def spend(home, *names):
    lake = Lake(Settings.of(home=home).lake.url)
    for name in names:
        record(lake, spending(name, mechanism=WEAK, finished=NOW - timedelta(hours=1)))


def test_it_says_what_was_spent_and_what_is_left(call, tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    code, out = told(call("privacy", "budget"))
    assert code == 0 and "no private training in 365 days" in out
    spend(tmp_path, "a", "b")
    monkeypatch.setenv("LASTAISLE_PRIVACY_EPSILON", "6")
    both = epsilon_of([WEAK] * 2, 1e-6)
    code, out = told(call("privacy", "budget"))
    assert code == 0 and "incremental-a" in out and "100 shoppers" in out
    assert f"epsilon {both.pld:.4g} by PLD and {both.rdp:.4g} by RDP" in out
    assert f"left: epsilon {6 - both.epsilon:.4g} of 6" in out and f"still fit: {MORE}" in out
    code, out = told(call("privacy", "budget", "--json", "--report", str(tmp_path / "r.json")))
    answer = json.loads(out)
    assert answer == json.loads((tmp_path / "r.json").read_text())
    assert answer["forecast"]["more"] == MORE and answer["units"][0]["in_windows"] == 2
    assert [one["run_id"] for one in answer["trainings"]] == ["a", "b"]


def test_the_status_has_a_line_of_it(tmp_path):
    spend(tmp_path, "a")
    source = Source(Settings.of(home=tmp_path, privacy_epsilon=6))
    (part,) = [one for one in StatusReader(source, NOW).read().parts if one.name == "privacy budget"]
    spent = epsilon_of([WEAK], 1e-6).rdp
    assert part.lines[0].startswith(f"at most epsilon {spent:.3g} of 6, at delta 1e-06, of a shopper")
    assert "without noise: 0" in part.lines[0] and part.data["epsilon"] == pytest.approx(spent)
