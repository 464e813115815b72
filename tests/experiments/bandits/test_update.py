"""An update: what a bandit has learned follows from outcomes alone, whatever was killed before."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from lastaisle.experiments.bandits import update as update_module
from lastaisle.experiments.bandits.apprentice import ShareDecision
from lastaisle.experiments.bandits.errors import BanditError
from lastaisle.experiments.bandits.lists import LISTS_SCHEMA, read_lists
from lastaisle.experiments.bandits.policies import posterior_of
from lastaisle.experiments.bandits.replay import replay
from lastaisle.experiments.bandits.update import update_bandits
from lastaisle.experiments.traffic import read_traffic
from lastaisle.lake.lake import Lake
from lastaisle.lake.tables import BANDIT_ARMS, OUTCOMES, TRAFFIC
from tests.experiments.bandits.conftest import START, bandit, trial
from tests.experiments.bandits.shop import Shop


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path)


def counts(shop: Shop, name: str = "lists"):
    return posterior_of(shop.newest(name).trial.bandit).counts


def arms(shop: Shop) -> list[dict]:
    return shop.lake.scan(BANDIT_ARMS).to_pylist() if shop.lake.version(BANDIT_ARMS) is not None else []


def test_a_list_has_a_reward_if_an_item_got_it_within_the_horizon(shop):
    made = shop.start()
    ids = [
        shop.list(1, "new", clicked=0.5, propensity=0.25),
        shop.list(2, "control", clicked=1.5),
        shop.list(3, "control", added=0.1, ordered=0.2),
        shop.list(3.5, "new", items=1),
    ]
    shop.list(9, "control", name="other", clicked=0)
    version = shop.write()
    found = read_lists(shop.lake, made)
    assert found.rows.schema == LISTS_SCHEMA
    assert found.outcomes_version == version
    rows = found.rows.to_pylist()
    assert [row["recommendation_id"] for row in rows] == ids
    assert [row["reward"] for row in rows] == [1, 0, 0, 0]
    assert rows[0] | {"shown_at": None} == {
        "recommendation_id": ids[0],
        "shown_at": None,
        "unit": "shopper-0",
        "arm": "new",
        "propensity": 0.25,
        "context": "",
        "choice": "new",
        "reward": 1,
    }


@pytest.mark.parametrize(("reward", "expected"), [("clicked", 0), ("added", 1), ("ordered", 1)])
def test_the_reward_is_the_one_of_the_definition(shop, reward, expected):
    made = shop.start(trial(bandit(reward=reward)))
    shop.list(1, "new", clicked=2, added=3, ordered=20)
    shop.write()
    [row] = read_lists(shop.lake, made).rows.to_pylist()
    assert row["reward"] == expected


def test_an_update_learns_writes_the_arms_and_says_so(shop):
    shop.start()
    for number in range(40):
        shop.list(1 + number / 100, "new", clicked=0.5 if number < 10 else None, propensity=0.75)
        shop.list(1 + number / 100, "control", clicked=0.5 if number < 4 else None, propensity=0.25)
    shop.list(4, "new")
    shop.write()
    [report] = update_bandits(shop.lake, actor="tests")
    assert (report.name, report.changed, report.problem, report.lists) == ("lists", True, "", 81)
    assert counts(shop) == {"control": {"": (40, 4)}, "new": {"": (40, 10)}}
    move = shop.newest()
    assert (move.state, move.actor) == ("running", "tests")
    [control, new] = arms(shop)
    assert {control["move_id"], new["move_id"]} == {move.move_id}
    assert (new["lists"], new["rewards"], new["mean"], new["mean_propensity"]) == (40, 10, 0.25, 0.75)
    assert new["low"] < 0.25 < new["high"]
    assert (control["estimated_regret"], new["estimated_regret"]) == (6, 0)
    assert new["probability"] > control["probability"] >= 0.05
    assert new["probability"] + control["probability"] == pytest.approx(1)
    assert report.arms == [control, new]


def test_an_update_without_news_writes_nothing(shop):
    shop.start()
    started = shop.lake.version(TRAFFIC)
    update_bandits(shop.lake)
    assert shop.lake.version(TRAFFIC) == started
    shop.list(1, "new", clicked=0.5)
    shop.list(4, "new")
    shop.write()
    update_bandits(shop.lake)
    versions = shop.lake.versions([TRAFFIC, BANDIT_ARMS])
    shop.foreign(4, experiment="other")
    shop.write()
    [report] = update_bandits(shop.lake)
    assert not report.changed
    assert shop.lake.versions([TRAFFIC, BANDIT_ARMS]) == versions


def test_a_late_reward_corrects_what_was_learned(shop):
    shop.start()
    late = shop.list(1, "new")
    shop.list(4, "control")
    shop.write()
    update_bandits(shop.lake)
    assert counts(shop) == {"new": {"": (1, 0)}}
    shop.rows[f"{late}#2"]["clicked_at"] = shop.rows[f"{late}#2"]["shown_at"]
    shop.write()
    update_bandits(shop.lake)
    assert counts(shop) == {"new": {"": (1, 1)}}


def test_lists_that_cannot_be_learned_from_are_counted(shop):
    shop.start()
    shop.list(1, "new")
    shop.list(1, "gone")
    shop.foreign(1, experiment="lists", arm="new")
    shop.list(9, "new")
    shop.write()
    [report] = update_bandits(shop.lake)
    assert (report.lists, report.left_out) == (2, {"no_label": 1, "unknown_arm": 1})


def test_the_problem_of_one_bandit_stops_no_other(shop):
    shop.start(trial(bandit(algorithm="magic"), "first"))
    shop.start(trial(bandit(), "second"))
    shop.list(1, "new", name="second")
    shop.list(4, "new", name="second")
    shop.write()
    first, second = update_bandits(shop.lake)
    assert "algorithm 'magic' is none of thompson" in first.problem
    assert second.changed


def test_a_state_that_cannot_be_read_is_computed_again(shop):
    shop.start(trial(bandit(posterior={"counts": "?"})))
    shop.list(1, "new")
    shop.list(4, "new")
    shop.write()
    [report] = update_bandits(shop.lake)
    assert report.changed
    assert counts(shop) == {"new": {"": (1, 0)}}


def test_a_stopped_bandit_learns_nothing_more(shop):
    shop.start(state="stopped")
    shop.list(1, "new")
    shop.list(4, "new")
    shop.write()
    assert update_bandits(shop.lake) == []
    with pytest.raises(BanditError, match="no running bandit is named lists: no bandit runs"):
        update_bandits(shop.lake, ["lists"])
    assert shop.newest().state == "stopped"


def test_a_bandit_that_is_stopped_during_the_update_stays_stopped(shop, monkeypatch):
    shop.start()
    shop.list(1, "new")
    shop.list(4, "new")
    shop.write()

    def stop_meanwhile(lake, trial):
        monkeypatch.setattr(update_module, "read_lists", read_lists)
        shop.start(trial, state="stopped")
        return read_lists(lake, trial)

    monkeypatch.setattr(update_module, "read_lists", stop_meanwhile)
    [report] = update_bandits(shop.lake)
    assert (report.changed, report.reason) == (False, "It was stopped meanwhile.")
    assert shop.newest().state == "stopped"


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("commit", [1, 2])
@pytest.mark.parametrize("news", [False, True])
def test_an_update_that_was_killed_is_made_whole_by_the_next(shop, monkeypatch, commit, news):
    shop.start()
    shop.list(1, "new", clicked=0.5)
    shop.list(4, "new")
    shop.write()
    append = Lake.append
    calls = []

    def killed(self, name, *args, **kwargs):
        calls.append(name)
        if len(calls) == commit:
            raise Killed
        return append(self, name, *args, **kwargs)

    monkeypatch.setattr(Lake, "append", killed)
    with pytest.raises(Killed):
        update_bandits(shop.lake)
    monkeypatch.setattr(Lake, "append", append)
    assert calls == [TRAFFIC, BANDIT_ARMS][:commit]
    if news:
        shop.list(6, "control")
        shop.write()
    update_bandits(shop.lake)
    learned = [move.move_id for move in read_traffic(shop.lake).moves if move.trial.bandit.posterior]
    assert len(learned) == (2 if news and commit == 2 else 1)
    assert Counter(row["move_id"] for row in arms(shop)) == dict.fromkeys(learned, 2)
    assert counts(shop)["new"] == {"": (2, 1) if news else (1, 1)}


def test_a_replay_computes_the_same_state_also_after_later_outcomes(shop):
    shop.start(
        trial(bandit(algorithm="linear_thompson", context=("device_type",), options={"half_life_hours": 5}))
    )
    for number in range(30):
        arm, device = ("control", "new")[number % 2], ("mobile", "desktop", "")[number % 3]
        shop.list(number / 3, arm, context=(device,), clicked=0.1 if number % 5 else None)
    shop.list(14, "new", context=("tv",))
    shop.write()
    update_bandits(shop.lake)
    shop.list(15, "control", context=("tv",), clicked=0)
    shop.list(30, "control", context=("tv",), clicked=0)
    shop.write()
    found = replay(shop.lake, "lists")
    assert (found.is_equal, found.is_same_version, found.differences) == (True, True, [])
    assert counts(shop)["new"].keys() >= {"mobile", "desktop", ""}


def test_a_replay_names_each_count_that_differs(shop):
    shop.start()
    shop.list(1, "new", clicked=0.5)
    shop.list(4, "new")
    shop.write()
    update_bandits(shop.lake)
    learned = shop.newest().trial
    posterior = dict(learned.bandit.posterior, counts={"new": {"": (7, 1)}})
    shop.start(
        msgspec.structs.replace(learned, bandit=msgspec.structs.replace(learned.bandit, posterior=posterior))
    )
    found = replay(shop.lake, "lists")
    assert not found.is_equal
    assert found.differences == [
        "new in context '': lists, rewards (7.0, 1.0) in traffic, (1.0, 1.0) by the outcomes"
    ]


def test_a_replay_says_that_the_version_is_gone(shop):
    shop.start()
    shop.list(1, "new", clicked=0.5)
    shop.list(4, "new")
    shop.write()
    update_bandits(shop.lake)
    shop.list(4.5, "new")
    shop.write()
    shop.lake.vacuum(OUTCOMES, keep_hours=0, dry_run=False)
    found = replay(shop.lake, "lists")
    assert (found.is_equal, found.is_same_version) == (True, False)
    assert found.outcomes_version == shop.lake.version(OUTCOMES)


def test_a_replay_of_no_bandit_is_refused(shop):
    with pytest.raises(BanditError, match="no bandit is named 'lists'; there is none"):
        replay(shop.lake, "lists")
    shop.start()
    with pytest.raises(BanditError, match="learned nothing yet"):
        replay(shop.lake, "lists")


def test_the_share_moves_by_the_gate_and_by_the_clock_of_the_data(shop, monkeypatch):
    asked = []

    def gate(trial, rows, *, since, now):
        asked.append((since - START, now - START, rows.num_rows))
        share = 0.1 if len(asked) in (2, 3) else 0.0
        return ShareDecision(share, f"the share is {share:g}", ())

    monkeypatch.setattr(update_module, "next_share", gate)
    shop.start(trial(bandit(share=0.0)))
    for hour in (1, 4, 9, 14):
        shop.list(hour, "new")
        shop.write()
        [report] = update_bandits(shop.lake)
    hours = [[part.total_seconds() / 3600 for part in one[:2]] for one in asked]
    assert hours == [[0, 1], [0, 4], [4, 9], [4, 14]]
    assert (report.share, shop.newest().trial.bandit.share) == (0.0, 0.0)
    assert "the share is 0" in shop.newest().reason
    assert [move.trial.bandit.share for move in read_traffic(shop.lake).moves] == [0, 0.1, 0.1, 0]
