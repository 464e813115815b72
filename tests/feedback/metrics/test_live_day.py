"""The figures of a simulated live day are the counts of the simulation itself."""

from __future__ import annotations

from collections import Counter

import pytest

from lastaisle.feedback.exposures.job import ExposureJob
from lastaisle.feedback.exposures.run import ingest_exposures
from lastaisle.feedback.metrics.count import count_metrics
from lastaisle.feedback.metrics.read import read_metrics
from lastaisle.feedback.outcomes.attribute import attribute
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.settings import Settings
from lastaisle.simulate import ShopOptions, shoppers
from lastaisle.simulate.live import LiveService, LiveShop, Reactions
from tests.serve.running import Running
from tests.serve.toys import KEY
from tests.simulate.live.test_with_service import light  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.training, pytest.mark.service]

SECRET = 64 * "ab"
PLAIN = dict.fromkeys(("broken", "late", "duplicates", "bots", "without_session"), 0.0)
SHOP = ShopOptions(sessions_per_day=1500, items=400, **PLAIN)


@pytest.fixture(scope="module")
def lived(tmp_path_factory, light):  # noqa: F811
    """A day in a lake on which all shoppers consent, and the truth about it."""
    folder = tmp_path_factory.mktemp("shop")
    service = Running(folder, "--model", light, LASTAISLE_PSEUDONYM_KEY=SECRET).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shoppers, "NO_ANALYTICS", 0.0)
        patch.setattr(shoppers, "NO_PERSONALIZATION", 0.0)
        shop = LiveShop(SHOP, LiveService(service.url, KEY), Reactions())
        day = shop.day(0)
        rest = shop.plain_day(1)
    service.stop()
    for name, logs in (("0", day.logs), ("1", rest)):
        (folder / "logs").mkdir(exist_ok=True)
        (folder / "logs" / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in logs.lines))
    lake, settings = Lake(folder / "lake"), Settings.of(home=str(folder / "home"))
    options = IngestOptions(gx_sample_rows=0)
    keys = PseudonymKeys.load_or_create(folder / "key", environ={"LASTAISLE_PSEUDONYM_KEY": SECRET})
    ingest(str(folder / "logs"), "canonical", lake, keys, options=options)
    ingest_exposures(str(folder / "home" / "feedback" / "*"), ExposureJob.from_settings(settings, lake, keys))
    attribute(lake, settings)
    count_metrics(lake)
    return lake, day.truth


def test_exposures_and_clicks_are_those_of_the_truth(lived):
    lake, truth = lived
    found = {
        (row["arm"], row["placement"], row["position"]): (row["exposures"], row["clicked"], row["clicks"])
        for row in read_metrics(lake, by=["arm", "placement", "position"], every=None).to_pylist()
    }
    assert found == {key: (each.shown, each.clicked, each.clicked) for key, each in truth.positions.items()}
    assert sum(clicked for _, clicked, _ in found.values()) > 50


def test_sessions_orders_and_revenue_are_those_of_the_truth(lived):
    lake, truth = lived
    assert all(each.empty == each.unanswered == 0 for each in truth.lists.values())
    rows = read_metrics(lake, by=["arm"], every=None, placement="checkout").to_pylist()
    assert {row["arm"] for row in rows} == truth.sessions.keys()
    for row in rows:
        counts = truth.sessions[row["arm"]]
        assert row["sessions"] == row["sessions_checkout"] == counts.checkouts
        assert (row["sessions_ordered"], row["sessions_abandoned"]) == (counts.orders, counts.abandoned)
        (revenue,) = row["revenue"]
        assert (revenue["currency"], revenue["revenue"]) == ("EUR", pytest.approx(counts.revenue))
        assert revenue["attributed_revenue"] > 0


def test_lists_are_those_of_the_truth(lived):
    lake, truth = lived
    rows = read_metrics(lake, by=["arm", "placement"], every="hour").to_pylist()
    found: Counter = Counter()
    for row in rows:
        found[row["arm"], row["placement"]] += row["lists"]
    assert found == {key: each.shown for key, each in truth.lists.items()}
