"""Intervals hold the truth as often as they say, also where shoppers come back: shoppers are drawn."""

import numpy as np
import pytest

from lastaisle.evaluation.measure import Lists, measure
from lastaisle.evaluation.report import CHURN
from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.ranking import Ranking

SHOPS, SHOPPERS, SESSIONS, TARGETS = 150, 50, 8, 2
CHAMPION, CANDIDATE, CHANGED = 0.50, 0.55, 0.3  # true recall@20 of both models, and true churn


def shop(generator):
    """Return the hits of both models and the churn, whose means differ by shopper, and the shoppers."""
    n = SHOPPERS * SESSIONS * TARGETS
    shopper = np.repeat(np.arange(SHOPPERS), SESSIONS * TARGETS)
    taste = generator.uniform(-0.45, 0.45, (3, SHOPPERS))[:, shopper]
    means = np.array([CHAMPION, CANDIDATE, CHANGED])[:, None] + taste * np.array([1, 1, 0.6])[:, None]
    champion, candidate, churn = generator.random((3, n)) < means
    return champion, candidate, churn.astype(float), shopper


def measured(champion, candidate, churn, unit):
    rankings = {
        name: Ranking(np.where(hits, 1, 0).astype(np.int32), np.ones((len(hits), 20), np.int32), unit, 20)
        for name, hits in (("candidate", candidate), ("champion", champion))
    }
    first = np.arange(len(unit)) % TARGETS == 0
    lists = {"next_item": Lists(rankings, {"first": first}, churn)}
    return measure(lists, "next_item", 0.8)["candidate"]


def covered(by_shopper):
    """Return the share of shops whose intervals hold the truth: overall, on a slice, and of the churn."""
    generator, held = np.random.default_rng(5), np.zeros(3)
    for _ in range(SHOPS):
        *hits, shopper = shop(generator)
        unit = shopper if by_shopper else np.arange(len(shopper)) // TARGETS
        scores = measured(*hits, unit)
        overall, part = (each.against["champion"] for each in (scores.overall, scores.slices["first"]))
        truths = ((overall["recall@20"], 0.05), (part["recall@20"], 0.05), (overall[CHURN], CHANGED))
        held += [estimate.low <= truth <= estimate.high for estimate, truth in truths]
    return held / SHOPS


def test_an_interval_of_eighty_per_cent_holds_the_truth_four_times_of_five():
    by_shopper, by_session = covered(True), covered(False)
    assert (abs(by_shopper - 0.8) < 0.09).all(), by_shopper
    assert (by_session[[0, 2]] < 0.68).all(), f"sessions are too sure: {by_session}"


def test_sessions_of_one_shopper_are_one_unit_and_unknown_shoppers_are_units_of_their_own():
    users = np.array(["u1", None, "u2", "u1", None, float("nan"), "u2"], dtype=object)
    log = SessionLog.from_lists([["a", "b", "c"]] * 7, context={"user": users})
    assert log.units.tolist() == [0, 1, 2, 0, 4, 5, 2]
    assert next_item_examples(log).units.tolist() == np.repeat(log.units, 2).tolist()
    assert next_item_examples(log).select(np.array([7, 12])).units.tolist() == [0, 2], "of the whole log"
    assert SessionLog.from_lists([["a", "b"]] * 3).units.tolist() == [0, 1, 2]


@pytest.mark.training
@pytest.mark.parametrize("kind", ["popularity", "cooccurrence"])
def test_a_ranking_knows_the_shoppers_of_its_examples(kind):
    from models.by_name import create
    from models.evaluation.ranking import rank_targets

    log = SessionLog.from_lists([["a", "b"], ["b", "c"]], context={"user": np.array(["u", "u"], object)})
    model = create(kind)
    model.fit(log)
    assert rank_targets(model, next_item_examples(log)).unit.tolist() == [0, 0]
