"""No value of a person leaves raw_events and quarantine, wherever it stood in the logs."""

from __future__ import annotations

import logging
import re
import shutil

import pytest

from tests.shops import made_up_shop

from .searching import Search
from .world import World, open_log

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def world(empty_store, tmp_path_factory):
    """Everything ran once."""
    world = World(tmp_path_factory.mktemp("world"))
    (world.home / "mlflow").mkdir(parents=True)
    shutil.copy(empty_store, world.home / "mlflow")
    with pytest.MonkeyPatch.context() as patch:
        made_up_shop.pack_lightly(patch.setattr)
        for name, value in world.environ().items():
            patch.setenv(name, value)
        handler, root = open_log(world), logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            world.ingest()
            world.run()
            world.ask()
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
        yield world


@pytest.fixture(scope="module")
def search(world):
    return Search(world.planter.plants.values())


#: Fields whose texts the contracts call public. A value of a person in them stays, unless the scan of texts
#: recognises it. What remains here is a gap, and each has its reason.
SURVIVORS = {
    r"\bitem_id\b|product_id\b|\.aid|\bitem\b|itemid|\.item_id": "an item is public, whatever its name is",
    r"category|brand|category_code|category_id|item_category|item_brand": "texts of the catalogue are public",
    r"model_version|policy|experiment|\barm\b|placement|list_id|recommendation_id|exposure_id": (
        "names of versions, experiments and lists belong to the shop, not to shoppers"
    ),
    r"event_name|: (?:event|type)\b": "the names of ignored events are counted in batches",
    r"price|dwell_ms": "a number of a card or a telephone is a number, too, and no text that is scanned",
}


def leaks_of(search, content):
    """Return the places of what was found that no survivor explains."""
    return {place for place in search.places(content) if not any(re.search(one, place) for one in SURVIVORS)}


def test_no_value_lies_in_a_file_beside_raw_events_and_quarantine(world, search):
    lake = world.home / "lake"
    found = search.in_folder(world.home, [lake / "raw_events", lake / "quarantine"])
    leaks = {
        file: left
        for file, places in found.items()
        if (left := {place for place in places if not any(re.search(one, place) for one in SURVIVORS)})
    }
    by_place: dict[str, set[str]] = {}
    for file, places in leaks.items():
        for place in places:
            by_place.setdefault(place, set()).add("/".join(file.split("/")[:2]))
    assert by_place == {}


def test_raw_events_and_quarantine_hold_the_values(world, search):
    """Otherwise nothing was planted, and a clean result would say nothing."""
    found = search.in_folder(world.home / "lake" / "raw_events")
    assert "visits: user_id (email)" in set().union(*found.values())
    found = search.in_folder(world.home / "lake" / "quarantine")
    assert "canonical: occurred_at (email)" in set().union(*found.values())


def test_no_command_page_or_log_says_a_value(world, search):
    said = {name: found for name, content in world.said.items() if (found := leaks_of(search, content))}
    assert said == {}
    assert len(world.said) > 30
    assert leaks_of(search, world.log.getvalue().encode()) == set()
