"""The loop turns: lists, reactions, outcomes, figures, a model that learned from them, and its own lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest import mock

import pytest

from lastaisle.lake.tables import EXPOSURE_BATCHES, EXPOSURES, OUTCOMES, SHOP_METRICS, UNATTRIBUTED
from tests.loop.looping import SmallLoop, counts, true_counts

pytestmark = [pytest.mark.training, pytest.mark.service]

FOLLOWED = 5.0
BY_POSITION = ("arm", "placement", "position")


@pytest.fixture
def loop(tmp_path) -> Iterator[SmallLoop]:
    with mock.patch.dict(os.environ, SmallLoop.environ(tmp_path)):
        made = SmallLoop(tmp_path)
        yield made
        made.service.stop()


def test_the_loop_turns_and_every_count_reconciles(loop, record_property):
    loop.plain_day()
    first = loop.learn()
    loop.service.start()
    loop.live_day(1)
    second = loop.learn()
    seconds = loop.seconds_until_served(second)
    record_property("seconds until the new champion was served", seconds)
    assert seconds < FOLLOWED
    loop.cut_day(2, after=0.4)
    loop.live_day(2)

    exposures = loop.lake.scan(EXPOSURES).to_pylist()
    every_item_on_a_screen_is_an_exposure(loop, exposures)
    every_reaction_is_attributed_once_or_named(loop, exposures)
    each_version_has_its_figures_beside_the_popular_arm(loop, {first, second})
    nothing_changes_when_it_is_done_again(loop)


def every_item_on_a_screen_is_an_exposure(loop, exposures):
    assert counts(of_kind(exposures, "shown"), *BY_POSITION) == true_counts(loop.truths, "stored_shown")
    batches = loop.lake.scan(EXPOSURE_BATCHES).to_pylist()
    rows = {
        name: counts(batches, of=f"rows_{name}")[()]
        for name in ("in", "clean", "quarantined", "duplicate", "ignored")
    }
    assert (rows["in"], rows["quarantined"], rows["ignored"]) == (len(loop.service.feedback()), 0, 0)
    assert rows["in"] == rows["clean"] + rows["duplicate"]
    assert rows["duplicate"] > 0, "the day that was cut sent its first rows again"
    assert (
        rows["clean"]
        == len(exposures)
        == sum(
            true_counts(loop.truths, f"stored_{kind}").total()
            for kind in ("shown", "clicked", "added", "bought")
        )
    )
    stored, seen = (true_counts(loop.truths, name).total() for name in ("stored_shown", "shown"))
    assert 0 < stored < seen, "some shoppers gave no consent"


def every_reaction_is_attributed_once_or_named(loop, exposures):
    outcomes = loop.lake.scan(OUTCOMES).to_pylist()
    assert {row["exposure_id"] for row in outcomes} == {
        row["exposure_id"] for row in of_kind(exposures, "shown")
    }
    assert counts(outcomes, *BY_POSITION, of="clicks") == true_counts(loop.truths, "stored_clicked")
    assert loop.lake.scan(UNATTRIBUTED).num_rows == 0
    by_list = {(row["recommendation_id"], row["item_id"]): row for row in outcomes}
    for kind, column in (("added", "adds"), ("bought", "orders")):
        told = of_kind(exposures, kind)
        assert len(told) == true_counts(loop.truths, f"stored_{kind}").total() > 0
        for row in told:
            assert by_list[row["recommendation_id"], row["item_id"]][column] >= 1


def each_version_has_its_figures_beside_the_popular_arm(loop, versions):
    rows = loop.lake.scan(SHOP_METRICS).to_pylist()
    items = [row for row in rows if row["position"] is not None]
    assert counts(items, *BY_POSITION, of="exposures") == true_counts(loop.truths, "stored_shown")
    assert counts(items, *BY_POSITION, of="clicks") == true_counts(loop.truths, "stored_clicked")
    seen = {(row["model_version"], row["arm"]) for row in items}
    assert seen == {(version, arm) for version in versions for arm in ("model", "popular")}
    assert {row["arm"] for row in items if row["policy"] == "model"} == {"model"}
    revenue = counts([row for row in rows if row["currency"]], "model_version", of="revenue")
    assert set(revenue) == {(version,) for version in versions}


def nothing_changes_when_it_is_done_again(loop):
    tables = (EXPOSURES, OUTCOMES, UNATTRIBUTED, SHOP_METRICS)
    before = loop.lake.versions(tables)
    assert loop.call("exposures", "ingest")["rows_clean"] == 0
    loop.call("attribute")
    assert loop.lake.versions(tables) == before


def of_kind(exposures, kind):
    return [row for row in exposures if row["kind"] == kind]
