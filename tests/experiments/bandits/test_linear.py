"""The policies that read the context: they follow it, and an unknown value is a value of its own."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from lastaisle.experiments.bandits.context import features_of
from lastaisle.experiments.bandits.learning import learn
from lastaisle.experiments.bandits.linear import _linear_models, _logistic_model
from lastaisle.experiments.bandits.policies import policy_of, policy_probabilities, posterior_of
from tests.experiments.bandits.conftest import NOW, bandit, lists

CONTEXTUAL = ("linear_thompson", "linear_ucb", "logistic_thompson")
#: The arm `new` is better on phones, and worse on desktops.
ROWS = [
    *(("control", "mobile.DE", 400, 40), ("new", "mobile.DE", 400, 80)),
    *(("control", "desktop.DE", 400, 80), ("new", "desktop.DE", 400, 40)),
    *(("control", ".FR", 200, 60), ("new", ".FR", 200, 10)),
]


def learned(algorithm: str, rows=ROWS, **changes):
    made = bandit(algorithm=algorithm, context=("device_type", "country"), floor=0.0, **changes)
    return msgspec.structs.replace(made, posterior=learn(made, lists(rows), NOW))


@pytest.mark.parametrize("algorithm", CONTEXTUAL)
def test_the_better_arm_of_each_context_is_drawn(algorithm):
    made = learned(algorithm)
    assert policy_probabilities(made, "mobile.DE")["new"] > 0.99
    assert policy_probabilities(made, "desktop.DE")["control"] > 0.99
    assert policy_probabilities(made, ".FR")["control"] > 0.99


@pytest.mark.parametrize("algorithm", CONTEXTUAL)
@pytest.mark.parametrize("context", ["tv.XX", "", "mobile", "mobile.DE.Berlin", "*.*"])
def test_a_context_that_no_list_had_is_drawn_too(algorithm, context):
    assert sum(policy_probabilities(learned(algorithm), context).values()) == pytest.approx(1)
    fresh = bandit(algorithm=algorithm, context=("device_type", "country"))
    assert policy_probabilities(fresh, context) == pytest.approx({"control": 0.5, "new": 0.5}, abs=1e-6)


@pytest.mark.parametrize("algorithm", CONTEXTUAL)
def test_only_rewards_and_no_rewards_are_learned_from(algorithm):
    rows = [("control", "a.b", 30, 0), ("new", "a.b", 30, 30)]
    assert policy_probabilities(learned(algorithm, rows), "a.b")["new"] > 0.99


def test_the_linear_model_is_a_ridge_regression_of_single_lists():
    made = learned("linear_thompson", options={"ridge": 2.0})
    known = posterior_of(made)
    [model, _] = _linear_models(made, known.counts, known.levels)
    cells = known.counts["control"]
    features, rewards = [], []
    middle = (1 + sum(row[3] for row in ROWS)) / (2 + sum(row[2] for row in ROWS))
    for cell, (count, won) in cells.items():
        features += [features_of([cell], known.levels)[0]] * int(count)
        rewards += [1 - middle] * int(won) + [-middle] * int(count - won)
    # Ridge doubts all weights alike: the arm's own feature is doubted less by making it greater.
    scaled = np.array(features)
    scaled[:, 0] *= np.sqrt(2)
    weights = Ridge(alpha=2.0, fit_intercept=False).fit(scaled, rewards).coef_
    weights[0] *= np.sqrt(2)
    assert model.weights == pytest.approx(weights, abs=1e-8)


def test_the_logistic_model_is_where_the_likelihood_is_greatest():
    made = learned("logistic_thompson", options={"ridge": 0.5})
    known = posterior_of(made)
    model = _logistic_model(made, known.counts["new"], known.levels, 0.2)
    cells = known.counts["new"]
    features = features_of(cells, known.levels)
    counted = np.array(list(cells.values()))
    ridge = np.array([1.0] + [0.5] * (features.shape[1] - 1))

    def loss(weights):
        odds = np.log(0.2 / 0.8) + features @ weights
        fit = counted[:, 1] * odds - counted[:, 0] * np.log1p(np.exp(odds))
        return -fit.sum() + 0.5 * (ridge * weights**2).sum()

    least = loss(model.weights)
    chance = np.random.default_rng(1)
    steps = chance.normal(0, 0.05, (100, features.shape[1]))
    assert min(loss(model.weights + step) for step in steps) > least


def test_a_policy_keeps_the_probabilities_of_a_context():
    policy = policy_of(learned("linear_thompson"))
    assert policy.probabilities("mobile.DE") is policy.probabilities("mobile.DE")
    assert policy.probabilities("tv.XX") is policy.probabilities("radio.YY")
