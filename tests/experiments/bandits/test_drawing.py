"""The arm of a list: it is drawn as often as its propensity says, and the same digits draw it again."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest
from scipy.stats import chisquare

from lastaisle.experiments.bandits.context import context_text
from lastaisle.experiments.bandits.drawing import draw
from lastaisle.experiments.bandits.learning import learn
from lastaisle.experiments.bandits.live import LiveBandit
from lastaisle.experiments.bandits.options import ALGORITHMS, problems_of
from tests.experiments.bandits.conftest import NOW, bandit, lists, trial

LEARNED = [("a", "mobile", 60, 6), ("b", "mobile", 50, 9), ("c", "mobile", 40, 2), ("c", "desktop", 9, 5)]


def learned(**changes):
    made = bandit("a", "b", "c", **changes)
    return msgspec.structs.replace(made, posterior=learn(made, lists(LEARNED), NOW))


def digits(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    return [f"{chance.getrandbits(96):024x}" for _ in range(count)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_arms_are_drawn_as_often_as_their_propensities_say(algorithm, share):
    columns = ("device_type",) if ALGORITHMS[algorithm] else ()
    made = learned(algorithm=algorithm, context=columns, share=share, base={"a": 0.5, "b": 0.5, "c": 0.0})
    live = LiveBandit(trial(made), clock=lambda: 0.0)
    drawn = [live.draw("mobile", digit) for digit in digits(5, 4000)]
    chances = drawn[0].probabilities
    assert sum(chances.values()) == pytest.approx(1, abs=1e-12)
    assert all(one.probabilities == chances and one.propensity == chances[one.arm] for one in drawn)
    seen = Counter(one.arm for one in drawn)
    possible = [arm for arm in chances if chances[arm] > 0]
    assert set(seen) <= set(possible)
    assert (
        chisquare([seen[arm] for arm in possible], [4000 * chances[arm] for arm in possible]).pvalue > 0.001
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_arm_keeps_its_floor_and_a_share_mixes_policy_and_base(algorithm):
    columns = ("device_type",) if ALGORITHMS[algorithm] else ()
    made = learned(algorithm=algorithm, context=columns, floor=0.1)
    alone = draw(trial(made), "mobile", "0" * 24).probabilities
    assert min(alone.values()) >= 0.1
    base = {"a": 1.0, "b": 0.0, "c": 0.0}
    half = draw(trial(msgspec.structs.replace(made, base=base, share=0.25)), "mobile", "0" * 24).probabilities
    assert half == pytest.approx({arm: 0.75 * base[arm] + 0.25 * alone[arm] for arm in base})


def test_an_apprentice_shows_the_base_and_tells_what_it_would_have_shown():
    made = learned(share=0.0, base={"a": 1.0, "b": 0.0, "c": 0.0})
    drawn = [draw(trial(made), "", digit) for digit in digits(1, 300)]
    assert {one.arm for one in drawn} == {"a"}
    assert {one.propensity for one in drawn} == {1.0}
    assert Counter(one.choice for one in drawn).most_common(1)[0][0] == "b"


def test_the_same_digits_draw_the_same_arm():
    made = trial(learned())
    for digit in digits(2, 50):
        assert draw(made, "", digit) == draw(made, "", digit) == LiveBandit(made).draw("", digit)


def test_the_arm_with_more_rewards_is_drawn_more_often():
    made = bandit(floor=0.0)
    rows = lists([("control", "", 400, 12), ("new", "", 400, 40)])
    made = msgspec.structs.replace(made, posterior=learn(made, rows, NOW))
    assert draw(trial(made), "", "0").probabilities["new"] > 0.999


def test_a_service_learns_between_two_updates_after_the_pause():
    seconds = [0.0]
    live = LiveBandit(trial(bandit(options={"live_seconds": 10})), clock=lambda: seconds[0])
    before = live.draw("", "0").probabilities
    for number, digit in enumerate(digits(3, 200)):
        drawn = live.draw("", digit)
        if drawn.arm == "new" and number % 2:
            live.note("new", "")
    assert live.draw("", "0").probabilities == before
    seconds[0] = 10.0
    assert live.draw("", "0").probabilities["new"] > 0.9 > before["new"]
    still = LiveBandit(trial(bandit(options={"live_seconds": 0})), clock=lambda: seconds[0])
    still.note("new", "", 50)
    seconds[0] = 100.0
    assert still.draw("", "0").probabilities == before


def test_rewards_of_lists_of_other_workers_do_no_harm():
    live = LiveBandit(trial(bandit(options={"live_seconds": 1})), clock=iter(range(100)).__next__)
    for _ in range(20):
        live.note("new", "")
        live.note("gone", "")
    assert live.draw("", "0").probabilities["new"] > 0.9


@pytest.mark.parametrize(
    ("context", "text"),
    [
        ({"device_type": "mobile", "country": "DE"}, "mobile.DE"),
        ({"country": None}, "."),
        ({"device_type": "a.b~c|d" + "e" * 40, "country": "Côte d'Ivoire"}, "abcdeeeeeeeeeeee.CtedIvoire"),
    ],
)
def test_a_context_is_one_short_text(context, text):
    assert context_text(("device_type", "country"), context) == text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": "tompson"}, "do you mean thompson?"),
        ({"context": ("country",)}, "reads no context"),
        ({"algorithm": "linear_ucb", "context": ("a", "b", "c", "d")}, "at most 3 columns"),
        ({"algorithm": "linear_ucb", "context": ("a", "a")}, "each once"),
        ({"floor": 0.6}, "1 / 2 arms = 0.5"),
        ({"floor": float("nan")}, "floor nan"),
        ({"share": 1.5}, "share 1.5"),
        ({"base": {"control": 1.0}}, "base names the arms"),
        ({"base": {"control": 0.6, "new": 0.6}}, "1 together"),
        ({"base": {"control": 1.5, "new": -0.5}}, "0 or more"),
        ({"options": {"half_live_hours": 3}}, "do you mean half_life_hours?"),
        ({"options": {"ridge": 0}}, "option ridge is 0: it should be from 0.001"),
        ({"options": {"ridge": float("nan")}}, "option ridge is nan"),
    ],
)
def test_a_wrong_bandit_is_refused_with_the_reason(changes, words):
    assert problems_of(bandit(), ("control", "new")) == []
    [problem] = problems_of(bandit(**changes), ("control", "new"))
    assert words in problem
