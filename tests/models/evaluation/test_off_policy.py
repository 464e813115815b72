"""Off-policy estimators: cases by hand, other formulas, known truth, and logs that say too little."""

import math

import numpy as np
import pytest
import vowpalwabbit

from models.evaluation.off_policy.estimators import ESTIMATORS, critical_value, difference, estimate
from models.evaluation.off_policy.log import Log
from models.evaluation.off_policy.overlap import OverlapError, overlap_of, require_overlap

ANY = {"least_effective_size": 0, "largest_share": 1}
TRUTH = np.array([[0.3, 0.25, 0.35], [0.3, 0.4, 0.2]])  # the mean reward of each context and arm


def by_hand(**more):
    """Four lists; the first arm is drawn twice, then the second arm twice."""
    return Log.of([0, 0, 1, 1], [0.5, 0.8, 0.5, 0.2], [1, 0, 1, 1], arms=2, **more)


def always(arm, n, arms=2):
    return np.tile(np.eye(arms)[arm], (n, 1))


def simulated(seed, *, shoppers=600, lists=4, chances=(0.6, 0.3, 0.1), looks=0.0):
    """A log of two contexts; the shopper's own taste, by looks, moves all rewards of the shopper."""
    generator = np.random.default_rng(seed)
    units = generator.permutation(np.repeat(np.arange(shoppers), lists))
    cells = generator.integers(0, 2, shoppers)[units]
    actions = generator.choice(3, size=len(units), p=chances)
    taste = generator.choice([-looks, looks], size=shoppers)[units]
    rewards = generator.random(len(units)) < TRUTH[cells, actions] + taste
    return Log.of(actions, np.array(chances)[actions], rewards, arms=3, units=units, cells=cells)


def coverage(logs, target_of_cells, estimator, interval="fixed"):
    """Return the bias and the coverage over logs with known truth."""
    truth = float((np.array(target_of_cells) * TRUTH).sum(axis=1).mean())
    found = [
        estimate(log, np.array(target_of_cells)[log.cells], estimator, interval=interval) for log in logs
    ]
    bias = np.mean([one.value for one in found]) - truth
    return bias, np.mean([one.low <= truth <= one.high for one in found])


def test_estimates_of_four_lists_equal_those_by_hand():
    target = np.full((4, 2), 0.5)  # the weights are 1, 0.625, 1 and 2.5
    ips = estimate(by_hand(), target, "ips", interval="fixed", **ANY)
    assert ips.value == pytest.approx((1 + 0 + 1 + 2.5) / 4)
    snips = estimate(by_hand(), target, "snips", interval="fixed", **ANY)
    assert snips.value == pytest.approx(4.5 / 5.125)
    assert ips.effective_sample_size == pytest.approx(5.125**2 / (1 + 0.625**2 + 1 + 2.5**2))
    spread = sum((score - 1.125) ** 2 for score in (1, 0, 1, 2.5)) * 4 / 3
    assert ips.standard_error == pytest.approx(math.sqrt(spread) / 4)
    assert ips.high - ips.value == pytest.approx(1.959964 * ips.standard_error)


def test_the_model_predicts_the_shrunk_mean_of_each_cell_and_arm():
    log = by_hand(cells=["de", "de", "de", "fr"])
    of_arms = [(1 + 10 * 0.75) / 12, (2 + 10 * 0.75) / 12]
    german = [(1 + 10 * of_arms[0]) / 12, (1 + 10 * of_arms[1]) / 11]
    french = [of_arms[0], (1 + 10 * of_arms[1]) / 11]
    assert log.fit_rewards() == pytest.approx(np.array([german, german, german, french]))
    modelled = estimate(log, always(1, 4), "dm", interval="fixed", **ANY)
    assert modelled.value == pytest.approx((3 * german[1] + french[1]) / 4)


def test_the_doubly_robust_estimate_of_an_adaptive_log_equals_the_one_by_hand():
    log = by_hand(batches=[0, 0, 1, 1])
    found = estimate(log, np.full((4, 2), 0.5), "dr", **ANY)
    # No earlier lists: predictions are 0, both arms have a share of 1/2, and the moment is 1. Then two lists
    # of the first arm with one reward: predictions are 1/2, shares 3/4 and 1/4, the moment is 4/3.
    scores, later = [1, 0, 0.5 + 1 * 0.5, 0.5 + 2.5 * 0.5], math.sqrt(3 / 4)
    value = (scores[0] + scores[1] + later * (scores[2] + scores[3])) / (2 + 2 * later)
    assert found.value == pytest.approx(value)


def test_a_row_has_no_influence_on_its_own_prediction_and_weight():
    actions, rewards = np.arange(40) % 2, np.arange(40) % 3 == 0
    units, batches = np.arange(40) // 2, np.arange(40) // 10

    def made(rewards, actions):
        return Log.of(actions, np.full(40, 0.5), rewards, arms=2, units=units, batches=batches)

    log = made(rewards, actions)
    others = made(np.where(batches == 2, 1 - rewards, rewards), actions)
    for changed in (others, made(rewards, np.where(batches == 2, 1 - actions, actions))):
        until = batches <= 2
        earlier = changed.predict_rewards(from_earlier=True)
        assert (log.predict_rewards(from_earlier=True)[until] == earlier[until]).all()
        assert (log.predict_rewards(from_earlier=True)[~until] != earlier[~until]).any()
        weights = [one.steadying_weights(always(1, 40))[until] for one in (log, changed)]
        assert weights[0] / weights[0][0] == pytest.approx(weights[1] / weights[1][0])
    by_shopper = made(np.where(units == 3, 1 - rewards, rewards), actions)
    own = units % 5 == 3
    folds = [one.predict_rewards(from_earlier=False) for one in (log, by_shopper)]
    assert (folds[0][own] == folds[1][own]).all() and (folds[0][~own] != folds[1][~own]).any()


def test_snips_equals_a_weighted_regression_on_a_constant():
    log = simulated(1)
    target = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])[log.cells]
    roots = np.sqrt(log.taken(target) / log.propensities)
    constant = np.linalg.lstsq(roots[:, None], roots * log.rewards, rcond=None)[0][0]
    assert estimate(log, target, "snips", interval="fixed").value == pytest.approx(constant)


def test_ips_equals_vowpal_wabbits():
    log = simulated(2, shoppers=200)
    judge = vowpalwabbit.Workspace("--cb 3 --eval --cb_type ips --quiet")
    for arm, reward, propensity in zip(log.actions, log.rewards, log.propensities, strict=True):
        judge.learn(f"2 {arm + 1}:{1 - reward}:{propensity} |")
    cost = judge.get_sum_loss() / judge.get_weighted_examples()
    judge.finish()
    ours = estimate(log, always(1, len(log), 3), "ips", interval="fixed")
    mean_weight = overlap_of(log, always(1, len(log), 3)).mean_weight
    assert ours.value == pytest.approx(mean_weight - cost, abs=1e-4)


def test_a_shopper_who_returns_with_the_same_lists_makes_no_interval_narrower():
    once = simulated(3, lists=1)
    target = np.full((len(once), 3), 1 / 3)
    four = Log.of(
        *(np.repeat(column, 4) for column in (once.actions, once.propensities, once.rewards)),
        arms=3,
        units=np.repeat(once.units, 4),
        cells=np.repeat(once.cells, 4),
    )
    for estimator in ESTIMATORS:
        narrow = estimate(once, target, estimator, interval="fixed")
        wide = estimate(four, np.repeat(target, 4, axis=0), estimator, interval="fixed")
        assert wide.effective_sample_size == pytest.approx(narrow.effective_sample_size)
        assert wide.standard_error == pytest.approx(narrow.standard_error, rel=0.02)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_intervals_cover_the_truth_although_shoppers_return(estimator):
    logs = [simulated(seed, looks=0.15) for seed in range(100)]
    bias, covered = coverage(logs, [[0, 0, 1], [0, 1, 0]], estimator)
    assert abs(bias) < 0.01
    assert covered >= 0.9


def test_the_rows_of_one_shopper_do_not_count_as_those_of_many():
    logs = [simulated(seed, looks=0.2) for seed in range(100)]
    as_drawn = [[0.6, 0.3, 0.1]] * 2
    strangers = [Log.of(one.actions, one.propensities, one.rewards, arms=3, cells=one.cells) for one in logs]
    assert coverage(logs, as_drawn, "snips")[1] >= 0.92
    assert coverage(strangers, as_drawn, "snips")[1] <= 0.9


def test_a_wrong_model_biases_dm_and_its_interval_says_so():
    truth = 0.375
    found = {"dm": [], "dr": []}
    for seed in range(60):
        log = simulated(seed)
        blind = Log.of(log.actions, log.propensities, log.rewards, arms=3, units=log.units)
        target = np.array([[0, 0, 1], [0, 1, 0]])[log.cells]
        for estimator, estimates in found.items():
            estimates.append(estimate(blind, target, estimator, interval="fixed"))
    assert np.mean([one.value for one in found["dm"]]) < truth - 0.04
    assert abs(np.mean([one.value for one in found["dr"]]) - truth) < 0.01
    assert np.mean([one.low <= truth <= one.high for one in found["dm"]]) > 0.9


def test_an_adaptive_interval_holds_at_every_look_and_a_fixed_one_does_not():
    generator = np.random.default_rng(5)
    looks, misses = range(400, 4001, 200), {"fixed": 0, "adaptive": 0}
    for _ in range(40):
        actions, rewards = generator.integers(0, 2, 4000), generator.random(4000) < 0.5
        missed = set()
        for n in looks:
            log = Log.of(actions[:n], np.full(n, 0.5), rewards[:n], arms=2, batches=np.arange(n) // 100)
            for interval in misses:
                found = estimate(log, always(1, n), "snips", interval=interval)
                if not found.low <= 0.5 <= found.high:
                    missed.add(interval)
        for interval in missed:
            misses[interval] += 1
    assert misses["adaptive"] <= 2 < misses["fixed"]


def test_an_adaptive_interval_is_narrowest_against_the_fixed_one_near_the_planned_shoppers():
    at = {n: critical_value("adaptive", 0.05, n, 2_000) for n in (20, 2_000, 200_000)}
    assert critical_value("fixed", 0.05, 20, 2_000) == pytest.approx(1.959964)
    assert at[2_000] == pytest.approx(3.03, abs=0.01)
    assert at[20] > at[2_000] and at[200_000] > at[2_000]


def test_the_difference_of_two_policies_leaves_out_what_they_do_alike():
    log = simulated(6)
    best, control = np.array([[0, 0, 1], [0, 1, 0]])[log.cells].astype(float), always(0, len(log), 3)
    near = 0.9 * control + 0.1 * best
    whole, part = (difference(log, policy, control, interval="fixed") for policy in (best, near))
    assert part.value == pytest.approx(whole.value / 10)
    assert part.high - part.low == pytest.approx((whole.high - whole.low) / 10)
    assert difference(log, control, control, interval="fixed").value == 0
    apart = [estimate(log, policy, "dr", interval="fixed") for policy in (near, control)]
    assert part.value == pytest.approx(apart[0].value - apart[1].value)


def test_a_log_that_never_shows_an_arm_is_refused_by_name():
    log = Log.of([0] * 500, [1.0] * 500, [1.0] * 500, arms=["control", "new"])
    with pytest.raises(OverlapError, match=r"500 lists of 500 shoppers.*takes new,.*weights average 0\.000"):
        estimate(log, always(1, 500))


def test_an_arm_that_the_log_leaves_out_in_one_context_is_noticed_by_the_weights():
    generator = np.random.default_rng(7)
    cells = generator.integers(0, 2, 2000)
    actions = np.where(cells == 1, 0, generator.integers(0, 2, 2000))
    log = Log.of(actions, np.where(cells == 1, 1.0, 0.5), np.ones(2000), arms=2, cells=cells)
    with pytest.raises(OverlapError, match=r"weights average 0\.[45]\d+.*propensities are wrong"):
        estimate(log, always(1, 2000))
    estimate(log, always(0, 2000))  # the other arm is shown in both


def test_propensities_that_are_wrong_are_noticed_by_the_weights():
    log = simulated(8)
    wrong = Log.of(log.actions, log.propensities * 0.5, log.rewards, arms=3, units=log.units)
    with pytest.raises(OverlapError, match="weights average 2"):
        estimate(wrong, np.full((len(log), 3), 1 / 3))


def test_too_few_shoppers_are_refused_with_their_number():
    log = simulated(9, shoppers=99, lists=40)
    with pytest.raises(OverlapError, match=r"effective sample size is [89]\d\.\d shoppers.*at least 100"):
        estimate(log, np.tile([0.6, 0.3, 0.1], (len(log), 1)))
    with pytest.raises(OverlapError, match="0 lists of 0 shoppers"):
        estimate(Log.of([], [], [], arms=2), np.zeros((0, 2)))


def test_one_shopper_with_a_large_part_of_all_weight_is_refused():
    propensities = np.full(1000, 0.5)
    propensities[0] = 0.002
    overlap = overlap_of(
        Log.of([1] + [0, 1] * 499 + [0], propensities, np.ones(1000), arms=2), always(1, 1000)
    )
    with pytest.raises(OverlapError, match="one shopper has 33"):
        require_overlap(overlap, least_effective_size=1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"propensities": [0.5, 0.0]}, "1 of 2 propensities are not above 0 and at most 1, the first: 0.0"),
        ({"propensities": [0.5, math.nan]}, "the first: nan"),
        ({"propensities": [0.5, 1.5]}, "the first: 1.5"),
        ({"propensities": [0.5]}, "2 actions, but 1 propensities"),
        ({"rewards": [1, math.inf]}, "1 of 2 rewards are no numbers"),
        ({"actions": [0, 2]}, "an action should be from 0 to 1"),
        ({"actions": [-1, 0]}, "an action should be from 0 to 1"),
        ({"batches": [1, 0]}, "sort the log by time"),
    ],
)
def test_values_that_cannot_be_are_refused(change, says):
    values = {"actions": [0, 1], "propensities": [0.5, 0.5], "rewards": [1, 0], "arms": 2} | change
    with pytest.raises(ValueError, match=says):
        Log.of(**values)


@pytest.mark.parametrize("target", [[[0.5, 0.4]], [[1.5, -0.5]], [[0.5, 0.25, 0.25]], [[math.nan, 1]]])
def test_a_target_that_gives_no_probabilities_is_refused(target):
    with pytest.raises(ValueError, match=r"target|probabilities"):
        estimate(Log.of([0], [0.5], [1], arms=2), np.array(target), **ANY)
