"""The gate of a bandit's policy: the share rises by lists that the policy has not learned, and falls."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from lastaisle.experiments.bandits import apprentice
from lastaisle.experiments.bandits.apprentice import next_share
from lastaisle.experiments.bandits.drawing import draw
from lastaisle.experiments.bandits.judging import judged_lists
from lastaisle.experiments.bandits.learning import learn
from lastaisle.experiments.bandits.lists import LISTS_SCHEMA
from lastaisle.experiments.bandits.policies import policy_of
from lastaisle.experiments.statistics.sequences import critical_value, tuned_rho
from lastaisle.experiments.traffic import AnalysisRules
from models.evaluation.off_policy import estimators
from models.evaluation.off_policy.estimators import difference
from tests.experiments.bandits.conftest import NOW, START, bandit, trial

OPTIONS = {"horizon_hours": 1.0}


def shown(rates, *, hours=(0, 40), an_hour=100, chances=None, seed=1):
    """Lists of arms drawn by chance; rates are the rewards a list of each arm, perhaps by context."""
    generator = np.random.default_rng(seed)
    rates = rates if "control" not in rates else {"": rates}
    arms = list(next(iter(rates.values())))
    chances = chances or [1 / len(arms)] * len(arms)
    rows = []
    for number in range((hours[1] - hours[0]) * an_hour):
        arm = int(generator.choice(len(arms), p=chances))
        cell = list(rates)[generator.integers(len(rates))]
        rows.append(
            {
                "recommendation_id": f"{seed}-{number}",
                "shown_at": START + timedelta(hours=hours[0] + number / an_hour),
                "unit": f"{seed}-{number // 2}",
                "arm": arms[arm],
                "propensity": chances[arm],
                "context": cell,
                "choice": arms[arm],
                "reward": int(generator.random() < rates[cell][arms[arm]]),
            }
        )
    return pa.Table.from_pylist(rows, schema=LISTS_SCHEMA)


def decided(rows, *, share=0.0, since=START, now=NOW, **changes):
    made = bandit(share=share, options=OPTIONS | changes.pop("options", {}), **changes)
    return next_share(trial(made), rows, since=since, now=now)


def verdicts(decision):
    return {rule.rule: rule.passed for rule in decision.table}


BETTER = {"control": 0.1, "new": 0.25}


@pytest.mark.parametrize(("share", "after"), [(0.0, 0.1), (0.1, 0.5), (0.3, 0.5), (0.5, 1.0), (1.0, 1.0)])
def test_a_policy_that_earns_more_rises_one_step_at_a_time(share, after):
    decision = decided(shown(BETTER), share=share)
    assert decision.share == after
    assert all(verdicts(decision).values())
    word = "stays 1" if share == 1 else f"rises from {share:g} to {after:g}"
    assert decision.reason.startswith(f"the share {word}: the policy would have earned +0.1")


def test_each_step_needs_lists_since_the_last_step():
    rows = shown(BETTER)
    decision = decided(rows, share=0.1, since=START + timedelta(hours=38))
    assert decision.share == 0.1
    assert not verdicts(decision)["effective sample size: the policy"]
    assert "200 lists since the last change of the share" in decision.table[0].reason


def test_a_policy_that_is_surely_worse_falls_to_0_at_once():
    learned = shown({"control": 0.1, "new": 0.5}, hours=(0, 20))
    turned = shown({"control": 0.3, "new": 0.05}, hours=(20, 24), seed=2)
    since = START + timedelta(hours=20)
    for share in (0.1, 0.5, 1.0):
        decision = decided(pa.concat_tables([learned, turned]), share=share, since=since)
        assert decision.share == 0.0
        assert decision.reason.startswith(
            f"the share falls from {share:g} to 0: the policy would have earned -0"
        )
    assert not verdicts(decision)["effective sample size: the policy"]  # too few to rise, enough to fall


def test_a_policy_that_is_no_better_does_not_rise_to_all_lists():
    same = shown({"control": 0.1, "new": 0.1})
    decision = decided(same, share=0.5)
    assert decision.share == 0.5
    assert not verdicts(decision)["loss at the next share"]
    assert "5.0% is allowed" in decision.reason
    assert decided(same, share=0.5, options={"gate_loss": 1.0}).table[-1].passed


def test_without_rewards_the_policy_stays_an_apprentice():
    decision = decided(shown({"control": 0.0, "new": 0.0}))
    assert decision.share == 0.0
    assert (
        "0 of 4,000 lists since the last change of the share got a reward; 20 are needed" in decision.reason
    )


def test_without_lists_the_policy_stays_an_apprentice():
    decision = decided(LISTS_SCHEMA.empty_table())
    assert (decision.share, len(decision.table)) == (0.0, 3)
    assert "0 of 0 lists" in decision.reason


def test_an_arm_that_the_lists_never_show_lets_no_policy_rise():
    rows = shown(BETTER, chances=[1.0, 0.0])
    decision = decided(rows)
    assert decision.share == 0.0
    assert "the lists say too little about the policy: it takes new, which" in decision.reason


def test_lists_without_a_known_arm_or_propensity_are_counted_and_left_out():
    rows = shown(BETTER)
    arm, propensity = rows["arm"].to_pylist(), rows["propensity"].to_pylist()
    arm[0], propensity[1], propensity[2], propensity[3] = "gone", None, 0.0, 1.5
    for name, values in (("arm", arm), ("propensity", propensity)):
        place = LISTS_SCHEMA.get_field_index(name)
        rows = rows.set_column(place, LISTS_SCHEMA.field(name), pa.array(values))
    decision = decided(rows)
    assert decision.share == 0.1
    assert "of 3,996 lists" in decision.table[0].reason
    assert "(4 lists without a known arm or propensity are left out)" in decision.table[0].reason


def test_the_policy_of_an_hour_has_learned_lists_whose_rewards_were_known_before_the_hour():
    rows, made = shown(BETTER), bandit(options=OPTIONS)
    judged = judged_lists(made, rows, since=START, now=NOW)
    assert (judged.policy[:200] == 0.5).all(), "the horizon of an hour is not over before the third hour"
    assert judged.policy[-1][1] > 0.9
    later = judged.log.batches >= 10
    rewards = np.where(later, 1 - judged.log.rewards, judged.log.rewards)
    place = LISTS_SCHEMA.get_field_index("reward")
    turned = rows.set_column(place, LISTS_SCHEMA.field("reward"), pa.array(rewards.astype(np.int8)))
    other = judged_lists(made, turned, since=START, now=NOW)
    until = judged.log.batches <= 11
    assert (judged.policy[until] == other.policy[until]).all()
    assert (judged.policy[~until] != other.policy[~until]).any()


def test_the_order_of_the_rows_changes_no_decision():
    rows = shown(BETTER)
    order = np.random.default_rng(3).permutation(rows.num_rows)
    mixed = decided(rows.take(order))
    assert mixed.share == 0.1
    assert mixed.table[-1].value == pytest.approx(decided(rows).table[-1].value)


def test_lists_whose_horizon_is_not_over_are_not_judged():
    rows = shown(BETTER)
    judged = judged_lists(bandit(options=OPTIONS), rows, since=START, now=START + timedelta(hours=11))
    assert len(judged.log) == 1000


def test_a_policy_is_not_judged_by_the_lists_that_it_learned():
    """Such a policy would seem better than the control although both arms are alike."""
    fair, learned = [], []
    for seed in range(12):
        rows, made = shown({"control": 0.1, "new": 0.1}, seed=seed, an_hour=40), bandit(options=OPTIONS)
        fair.append(decided(rows).table[-2].value)
        judged = judged_lists(made, rows, since=START, now=NOW)
        known = msgspec.structs.replace(made, posterior=learn(made, rows, NOW))
        policy = np.tile(policy_of(known).probabilities(""), (len(judged.log), 1))
        learned.append(difference(judged.log, policy, judged.always("control")).value)
    error = np.std(fair) / np.sqrt(len(fair))
    assert abs(np.mean(fair)) < 2 * error < np.mean(learned)


def test_a_policy_of_contexts_is_judged_in_each_context():
    rates = {"mobile": {"control": 0.1, "new": 0.4}, "desktop": {"control": 0.4, "new": 0.1}}
    changes = {"algorithm": "linear_thompson", "context": ("device",)}
    rows = shown(rates)
    assert decided(rows, **changes).share == 0.1
    assert decided(rows, share=0.5).share == 0.5, "without context no arm is better"
    judged = judged_lists(bandit(options=OPTIONS, **changes), rows, since=START, now=NOW)
    contexts = np.array(rows["context"].to_pylist())[: len(judged.log)]
    for place, context in ((1, "mobile"), (0, "desktop")):
        assert judged.policy[-500:][contexts[-500:] == context][:, place].min() > 0.8


def test_a_long_judgement_learns_a_bounded_number_of_policies():
    rows = shown(BETTER, hours=(0, 1000), an_hour=1)
    judged = judged_lists(bandit(options=OPTIONS), rows, since=START, now=START + timedelta(hours=1001))
    assert len(np.unique(judged.log.batches)) <= 200
    assert judged.log.batches[-1] == 992


def test_the_analysis_gives_the_coverage_of_the_interval():
    rows, made = shown({"control": 0.2, "new": 0.2}), bandit(options=OPTIONS)
    losses = []
    for alpha in (0.05, 0.5):
        rules = AnalysisRules(primary="ctr", minimum_effect=0.1, alpha=alpha, planned_units=1000)
        judged = msgspec.structs.replace(trial(made), analysis=rules)
        losses.append(next_share(judged, rows, since=START, now=NOW).table[-1].value)
    assert losses[0] > losses[1]


def test_the_decision_is_readable_as_json():
    made = decided(shown(BETTER)).to_dict()
    assert made["share"] == 0.1
    assert made["table"][0]["rule"] == apprentice.REWARDS
    assert set(made["table"][0]) == {"rule", "value", "threshold", "passed", "reason"}


def test_the_interval_reaches_as_far_as_the_sequence_of_experiments():
    for shoppers in (100, 2_000, 50_000):
        ours = estimators.critical_value("adaptive", 0.05, shoppers, 2_000)
        assert ours == pytest.approx(float(critical_value(shoppers, tuned_rho(2_000, 0.05), 0.05)), rel=0.02)


def test_an_apprentice_in_a_shop_with_a_better_arm_gets_all_lists_step_by_step():
    generator = np.random.default_rng(11)
    rates, tables = {"control": 0.1, "new": 0.3, "bad": 0.05}, []
    made = bandit(*rates, share=0.0, options=OPTIONS)
    since, shares, hour = START, [0.0], 0
    while shares[-1] < 1 and hour < 200:
        hour += 10
        now = START + timedelta(hours=hour)
        drawn = [draw(trial(made), "", f"{number:024x}") for number in range(1000 * hour, 1000 * hour + 1000)]
        tables.append(
            pa.Table.from_pydict(
                {
                    "recommendation_id": [f"{hour}-{number}" for number in range(1000)],
                    "shown_at": [
                        START + timedelta(hours=hour - number / 100) for number in range(1000, 0, -1)
                    ],
                    "unit": [f"{hour}-{number}" for number in range(1000)],
                    "arm": [one.arm for one in drawn],
                    "propensity": [one.propensity for one in drawn],
                    "context": [""] * 1000,
                    "choice": [one.choice for one in drawn],
                    "reward": [int(generator.random() < rates[one.arm]) for one in drawn],
                },
                schema=LISTS_SCHEMA,
            )
        )
        rows = pa.concat_tables(tables)
        decision = next_share(trial(made), rows, since=since, now=now)
        since = now if decision.share != shares[-1] else since
        shares.append(decision.share)
        made = msgspec.structs.replace(made, posterior=learn(made, rows, now), share=decision.share)
    assert list(dict.fromkeys(shares)) == [0.0, 0.1, 0.5, 1.0]
    assert policy_of(made).probabilities("")[1] > 0.85
