"""No value of a person leaves raw_events and quarantine, wherever it stood in the logs."""

from __future__ import annotations

import logging
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


_ITEM = "the id of an article may be any number, also one that could be that of a card or a telephone"
_NAME = "a service or a shop may make ids and versions of digits alone"
#: Where a card and a telephone survive, and why. The contracts call these fields `scan: identifier`, in which
#: only e-mail, IP and IBAN are found; docs/anonymization.md says so.
SURVIVORS = {
    "canonical: item_id": _ITEM,
    "canonical parquet: item_id": _ITEM,
    "ga4: items.0.item_id": _ITEM,
    "otto: events.0.aid": _ITEM,
    "posthog: properties.product_id": _ITEM,
    "rees46: product_id": _ITEM,
    "retailrocket: itemid": _ITEM,
    "segment: properties.products.0.product_id": _ITEM,
    "taobao: item": _ITEM,
    "yoochoose: item": _ITEM,
    "exposures exposures: item_id": _ITEM,
    "exposures feedback: item_id": _ITEM,
    **{
        f"exposures {form}: {field}": _NAME
        for form in ("exposures", "feedback")
        for field in ("exposure_id", "recommendation_id", "model_version")
    },
}
LEFT = {f"{place} ({kind})" for place in SURVIVORS for kind in ("card", "phone")}


def test_no_other_value_lies_in_a_file_beside_raw_events_and_quarantine(world, search):
    """A value that survives no longer fails, too: then it leaves SURVIVORS."""
    lake = world.home / "lake"
    found = search.in_folder(world.home, [lake / "raw_events", lake / "quarantine"])
    by_place: dict[str, set[str]] = {}
    for file, places in found.items():
        for place in places:
            by_place.setdefault(place, set()).add("/".join(file.split("/")[:2]))
    assert {place: files for place, files in by_place.items() if place not in LEFT} == {}
    assert LEFT - set(by_place) == set()


def test_raw_events_and_quarantine_hold_the_values(world, search):
    """Otherwise nothing was planted, and a clean result would say nothing."""
    found = search.in_folder(world.home / "lake" / "raw_events")
    assert "visits: user_id (email)" in set().union(*found.values())
    found = search.in_folder(world.home / "lake" / "quarantine")
    assert "canonical: occurred_at (email)" in set().union(*found.values())


def test_no_command_page_or_log_says_another_value(world, search):
    said = {name: search.places(content) - LEFT for name, content in world.said.items()}
    assert {name: places for name, places in said.items() if places} == {}
    assert len(world.said) > 30
    assert search.places(world.log.getvalue().encode()) == set()
