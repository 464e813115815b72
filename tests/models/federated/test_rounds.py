"""Silos learn together in one process: what leaves them, what hostile silos can do, and what rounds note."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.metrics import recall_at_k
from models.evaluation.ranking import rank_targets
from models.federated.agreement import Agreement
from models.federated.learner import Learner
from models.federated.rounds import Server, run_rounds
from models.federated.shared import agreed_only, rate_of_round, shared_model
from models.federated.updates import length_of
from models.options import TrainingOptions
from models.stored import ModelError
from tests.models.toys import rings

pytestmark = pytest.mark.training

OPTIONS = TrainingOptions(embedding_size=16, dropout=0.0)
ITEMS = tuple(f"i{item}" for item in range(40))
SILOS = {name: rings(150, seed) for seed, name in enumerate(("east", "north", "south", "west"))}
JUDGING = rings(150, 99)


def agreement(**changes):
    values = {"rounds": 4, "local_epochs": 2, "learning_rate": 0.03, "max_sessions": 1000, "clip": 1e4}
    return Agreement("gru", OPTIONS.to_dict(), ITEMS, **{**values, **changes})


@cache
def made(name):
    """Return a silo's learner. It keeps nothing between rounds, so all trainings may ask the same one."""
    return Learner(agreement(), SILOS[name], judging=JUDGING)


def learner_of(agreed, name="east"):
    learner = made(name)
    learner.agreement = agreed
    return learner


def answers(agreed):
    return {name: learner_of(agreed, name).answer for name in SILOS}


def recall(server):
    return recall_at_k(rank_targets(server.model(), next_item_examples(JUDGING)).ranks, 1)


@pytest.fixture(scope="module")
def plain():
    agreed = agreement()
    return run_rounds(agreed, answers(agreed))


def test_silos_learn_together(plain):
    assert recall(plain) > 0.6  # 80 % of the next items follow from the ring
    assert [done.silos for done in plain.rounds] == [4] * 4
    assert plain.rounds[0].sessions == 600
    assert plain.rounds[-1].loss < plain.rounds[0].loss
    assert plain.rounds[-1].recall > plain.rounds[0].recall
    assert plain.popularity.sum() == pytest.approx(1.0, abs=0.05)


def test_the_same_training_twice_gives_the_same_weights(plain):
    agreed = agreement()
    again = run_rounds(agreed, answers(agreed))
    for name, array in plain.weights.items():
        np.testing.assert_array_equal(again.weights[name], array)


def test_a_silo_that_starts_again_answers_the_same():
    agreed = agreement(rounds=2)
    server = Server(agreed)
    first, second = learner_of(agreed), Learner(agreed, SILOS["east"])
    first.answer(1, server.weights, server.popularity)
    once = first.answer(2, server.weights, server.popularity)
    again = second.answer(2, server.weights, server.popularity)
    for name, array in once.change.items():
        np.testing.assert_array_equal(again.change[name], array)


def test_an_update_is_cut_and_told_without_ids():
    agreed = agreement(clip=0.5)
    server = Server(agreed)
    update = learner_of(agreed).answer(1, server.weights, server.popularity)
    assert length_of(update.change) == pytest.approx(0.5, rel=1e-4)
    assert update.sessions == 150


def test_noise_goes_into_the_update():
    agreed = agreement(clip=0.5, noise=2.0)
    server = Server(agreed)
    one, other = (learner_of(agreed).answer(1, server.weights, server.popularity) for _ in range(2))
    size = sum(array.size for array in one.change.values())
    assert length_of(one.change) == pytest.approx(np.sqrt(size), rel=0.1)
    assert not np.array_equal(one.change["table"], other.change["table"]), "noise has no seed"


def test_few_judging_targets_are_not_told():
    agreed = agreement()
    server = Server(agreed)
    learner = Learner(agreed, SILOS["east"], judging=JUDGING.select(slice(10)))
    assert np.isnan(learner.answer(1, server.weights, server.popularity).recall)


def hostile(honest, how):
    """Return a silo that sends harm."""

    def answer(number, weights, popularity):
        update = honest(number, weights, popularity)
        return replace(
            update, change={name: how(array) for name, array in update.change.items()}, sessions=10**9
        )

    return answer


@pytest.mark.parametrize("rule", ["trimmed", "krum"])
@pytest.mark.parametrize("how", [lambda a: -5 * a, lambda a: np.full_like(a, 1e6)], ids=["flipped", "huge"])
def test_robust_rules_stand_one_hostile_silo(rule, how, plain):
    agreed = agreement(aggregation=rule, hostile=1)
    silos = answers(agreed)
    silos["west"] = hostile(silos["west"], how)
    assert recall(run_rounds(agreed, silos)) > 0.85 * recall(plain)


def test_a_hostile_silo_ruins_a_mean_without_bounds(plain, monkeypatch):
    from models.federated import rounds

    agreed = agreement()
    silos = answers(agreed)
    silos["west"] = hostile(silos["west"], lambda a: -5 * a)
    monkeypatch.setattr(rounds, "bounded", lambda updates, bounds: list(updates))
    assert recall(run_rounds(agreed, silos)) < 0.5 * recall(plain)


def test_a_round_with_too_few_silos_changes_nothing():
    agreed = agreement()
    server, learner = Server(agreed), learner_of(agreed)
    before = {name: array.copy() for name, array in server.weights.items()}
    update = learner.answer(1, server.weights, server.popularity)
    broken = replace(update, change={**update.change, "table": np.full_like(update.change["table"], np.nan)})
    done = server.finish_round({"east": update, "north": update, "west": broken}, {"south": "no answer"})
    assert (done.silos, done.changed) == (2, False)
    assert dict(done.refused) == {"south": "no answer", "west": "table has values that are not finite"}
    for name, array in before.items():
        np.testing.assert_array_equal(server.weights[name], array)


def test_the_model_starts_equal_everywhere_and_in_the_order_of_ids():
    one, other = (shared_model("gru", OPTIONS, items) for items in (ITEMS, ITEMS[::-1]))
    assert list(one.vocabulary.ids) == list(other.vocabulary.ids) == ["", *sorted(ITEMS)]
    for name, array in one.weights().items():
        np.testing.assert_array_equal(other.weights()[name], array)


def test_a_model_that_holds_values_of_single_silos_is_refused():
    with pytest.raises(ModelError, match="received 'neighbours'"):
        shared_model("neighbours", OPTIONS, ITEMS)


def test_items_that_are_not_agreed_stay_out():
    log = SessionLog.from_lists([["i1", "x", "i2"], ["x", "i3"], ["i4", "i5"]])
    model = shared_model("gru", OPTIONS, ITEMS)
    kept, weights, left_out = agreed_only(log, np.float32([1, 2, 3]), model.vocabulary)
    assert list(kept) == [["i1", "i2"], ["i4", "i5"]]
    assert (list(weights), left_out) == ([1, 3], 2)
    assert "x" not in kept.catalogue


def test_a_silo_without_agreed_items_is_refused():
    with pytest.raises(ModelError, match="compare the silo's item ids"):
        Learner(agreement(), SessionLog.from_lists([["x", "y"]] * 5))


def test_the_rate_falls_from_round_to_round_to_a_tenth():
    rates = [rate_of_round(0.02, number, 5) for number in range(1, 6)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (pytest.approx(0.02), pytest.approx(0.002))
