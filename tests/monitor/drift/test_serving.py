"""Drift asks the versions as services ask them, and goes on when a version is gone."""

from datetime import timedelta

import numpy as np
import pytest

from lastaisle.monitor.drift.concept import hits
from lastaisle.monitor.drift.detect import detect
from lastaisle.monitor.drift.serving import serving_versions
from lastaisle.sessions.windows import evaluation_sessions
from models.data.sequences import next_item_examples
from models.evaluation.ranking import rank_targets
from models.serving.served import ServedModel
from models.stored import DamagedModelError
from tests.release.test_damaged import files_of, truncate
from tests.release.test_losses import delete_run_for_good

pytestmark = pytest.mark.training

DAYS = 5


@pytest.fixture
def shop_days(home, shop):
    """An installation with five days, so that drift on the last day can be measured, and two versions."""
    home.lake.append("events", shop.events(days=DAYS).slice(3 * 400 * 5), key="more days")
    for day in (1, 2):
        home.day(day)
    return home


def detect_last_day(home, shop):
    day = (shop.end_of(DAYS) - timedelta(days=1)).date()
    return detect(home.lake, home.settings, day, serving_versions(home.lake, home.registry))


def test_a_champion_that_knows_shoppers_is_judged_without_its_shoppers_as_services_ask_it(home, shop):
    home.day(1, architecture="factorization")
    champion = serving_versions(home.lake, home.registry).champion
    assert isinstance(champion.served, ServedModel)
    log = evaluation_sessions(home.lake, shop.end_of(1), shop.end_of(2), None).log
    examples = next_item_examples(log)
    served = champion.served.rank(examples).ranks
    assert hits(champion.served, log).mean() == pytest.approx(np.mean(served > 0), abs=0.001)
    with_shoppers = rank_targets(champion.trained, examples).ranks
    assert not np.array_equal(served > 0, (with_shoppers > 0) & (with_shoppers <= 20))


def test_drift_goes_on_after_a_version_or_its_run_is_deleted(shop_days, shop):
    home = shop_days
    report = detect_last_day(home, shop)
    assert report.model_version == "2"
    assert {"predictions", "hit_rate"} <= {each.feature for each in report.findings}

    home.registry.delete_version("2")
    report = detect_last_day(home, shop)
    assert report.model_version == "1"
    assert "hit_rate" in {each.feature for each in report.findings}

    delete_run_for_good(home, "1")
    report = detect_last_day(home, shop)
    assert report.model_version is None
    assert report.findings


def test_a_previous_version_that_does_not_open_is_named_and_a_broken_champion_stops_the_measurement(
    shop_days, caplog
):
    home = shop_days
    truncate(files_of(home, home.registry.run_of("1")))
    versions = serving_versions(home.lake, home.registry)
    assert (versions.champion.number, versions.previous, versions.pair) == ("2", None, None)
    assert "The previous version, 1, is not compared: version 1 of checkout-recommender" in caplog.text
    truncate(files_of(home, home.registry.run_of("2")))
    with pytest.raises(DamagedModelError, match="version 2 of checkout-recommender"):
        serving_versions(home.lake, home.registry)
