"""The service shows what is for sale, what a request's filter keeps, and what the shop's rules say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lastaisle.feedback.origin import origin_of, policy_sql, propensity_sql, version_sql
from lastaisle.lake.tables import ITEMS
from lastaisle.serve.shown.shelf import Shelf
from models.by_name import create
from models.data.sequences import SessionLog
from models.serving.export import export_artifact
from tests.serve.shelves import row, settings_of, store
from tests.services.required import starts_service
from tests.services.waiting import wait_until

IDS = [f"i{number}" for number in range(1, 11)]  # those of the toy model, which scores i1 highest after i10


@pytest.fixture
def shop(tmp_path, make_service):
    """Make a service over a real lake, in which item i<n> costs n; the even ones are shoes."""

    def made(rules: str = "") -> Any:
        path = tmp_path / "rules.yaml"
        path.write_text(f"rules: [{rules}]")
        settings = settings_of(tmp_path, rules=str(path))
        store(
            settings,
            *(
                row(item, price=float(n), title=f"Item {n}", category="hats" if n % 2 else "shoes")
                for n, item in enumerate(IDS, start=1)
            ),
            row("new", price=99.0, title="New item", category="lamps"),
        )
        shelf = Shelf(settings)
        shelf.look()
        client = make_service(shelf=shelf)
        client.shelf, client.settings = shelf, settings
        return client

    return made


PROMOTION = "{name: hats, promote: {items: [i9]}, share: %s, placements: [cart]}"


@pytest.mark.parametrize(
    ("share", "k", "placement", "known"),
    [
        (0.5, 4, "cart", True),  # always two slots
        (0.1, 10, "cart", True),
        (0.3, 4, "cart", False),
        (0.3, 4, "checkout", True),
        (0.25, 100, "cart", False),  # a quarter of the ten items that the model knows
    ],
)
@pytest.mark.parametrize("policy", ["model", "popular"])
def test_a_list_in_which_chance_gave_a_rule_a_slot_has_no_propensity(
    shop, share, k, placement, known, policy
):
    service = shop(PROMOTION % share)
    answer = service.ask("i1", k=k, placement=placement, policy=policy)
    listed, items = answer["recommendation_id"], [item["id"] for item in answer["items"]]
    origin = origin_of(listed)
    assert (origin.version, origin.policy, origin.consent) == ("7", policy, True)
    shown = {"recommendation_id": listed, "kind": "shown", "items": items, "placement": placement}
    assert service.post("/v1/feedback", json=shown).status_code == 200
    rows = [json.loads(line) for line in service.service.sink.lines]
    assert {row["propensity"] for row in rows} == {1.0 if known else None}
    assert {row["policy"] for row in rows} == {policy}
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT {version_sql('$list')}, {policy_sql('$list')}, {propensity_sql('$list')}",
            {"list": listed},
        ).fetchone()
    assert found == ("7", policy, "1.0" if known else None), "files that name the list are read alike"


def test_a_sold_out_item_is_gone_from_every_list(shop):
    service = shop()
    assert service.ids("i1", k=3) == ["i2", "i3", "i4"]
    store(service.settings, row("i2", available=False, valid_from=datetime.now(UTC)))
    store(service.settings, row("i3", removed=True, valid_from=datetime.now(UTC)))
    service.shelf.look()
    assert service.ids("i1", k=3) == ["i4", "i5", "i6"]
    assert "i2" not in service.ids("i1", k=20)
    assert "i2" not in service.ids("i1", k=20, consent=False)


def test_a_filtered_list_is_filled_and_has_titles(shop):
    service = shop()
    reply = service.ask("i1", k=3, filter="category == 'shoes' and price > 2", cart=["i4"])
    assert [(item["id"], item["title"]) for item in reply["items"]] == [
        ("i6", "Item 6"),
        ("i8", "Item 8"),
        ("i10", "Item 10"),
    ]
    assert service.ids(k=2, filter="price >= 9") == ["i9", "i10"]
    assert service.ids("i1", filter="price > 1000") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prise < 5", "do you mean price?"),
        ("price < 'x'", "character 9"),
        ("", "is empty"),
        ("__import__('os')", "expected a comparison"),
        ("(" * 1000, "cannot be read here"),
        ("price < 5 and " * 200 + "available", "length <= 2000"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_place(shop, text, said):
    reply = shop().post("/v1/recommendations", json={"items": ["i1"], "filter": text})
    assert reply.status_code == 422
    assert said in reply.text


def test_rules_are_counted_apart_and_keep_their_share(shop):
    service = shop(
        "{name: lamps, pin: {items: [new], position: 2}, placements: [checkout]},"
        "{name: hats, promote: {filter: category == 'hats'}, share: 0.25}"
    )
    reply = service.ask("i1", k=4, placement="checkout", explain=True)
    second = reply["items"][1]
    assert (second["id"], second["score"], second["reason"], second["title"]) == (
        "new",
        None,
        "rule:lamps",
        "New item",
    )
    assert service.ids("i1", k=4, placement="cart").count("new") == 0
    assert "new" not in service.ids("i1", k=4, placement="checkout", cart=["new"])
    assert "new" not in service.ids("i1", k=4, placement="checkout", exclude=["new"])
    assert "new" not in service.ids("i1", k=4, placement="checkout", filter="price < 50")
    before = service.metric('lastaisle_serve_slots_total{reason="rule:hats"}')
    for _ in range(100):
        service.ids("i1", k=2, placement="cart")
    shown = service.metric('lastaisle_serve_slots_total{reason="rule:hats"}') - before
    assert 20 <= shown <= 80  # half a slot of each list


def test_the_service_is_not_ready_while_a_catalogue_cannot_be_read(make_service, tmp_path):
    settings = settings_of(tmp_path, catalogue_poll_seconds=0.1)
    log = Path(settings.lake.url) / ITEMS / "_delta_log"
    store(settings, row("i1"))
    log.rename(log.with_name("log"))
    service = make_service(shelf=Shelf(settings))
    wait_until(
        "the problem is known", lambda: "cannot be read" in str(service.get("/v1/model").json()["problems"])
    )
    assert service.get("/readyz").status_code == 503
    log.with_name("log").rename(log)
    wait_until("the service is ready", lambda: service.get("/readyz").status_code == 200)
    assert service.ids("i3") == ["i1"]


@pytest.mark.training
@pytest.mark.service
def test_a_running_service_drops_a_sold_out_item_and_follows_its_rules(tmp_path):
    starts_service("lastaisle serve")
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: []")
    settings = settings_of(tmp_path, port=0, keys="k", rules=str(rules), catalogue_poll_seconds=0.2)
    store(settings, row("a"), row("b", title="Bread"), row("c"), row("d"))
    model = create("cooccurrence")
    model.fit(SessionLog.from_lists([["a", "b"], ["a", "b", "c"]] * 4))
    folder = export_artifact(model, tmp_path / "model")["light"]
    command = [sys.executable, "-m", "lastaisle.cli", "serve", "--model", str(folder)]
    environment = {**os.environ, **settings.to_env()}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = next(line for line in process.stdout if "listens on" in line).split("listens on ")[1]
            url = url.split(";")[0].strip()

            def ids() -> list[str]:
                return ask(f"{url}/v1/recommendations")

            wait_until("the service answers", lambda: ids() == ["b", "c"])
            store(settings, row("b", available=False, valid_from=datetime.now(UTC)))
            since = time.monotonic()
            wait_until("the item is gone", lambda: ids() == ["c"])
            assert time.monotonic() - since < 10
            rules.write_text("rules: [{name: x, pin: {items: [d]}}]")
            wait_until("the rule applies", lambda: ids() == ["d", "c"])
        finally:
            process.terminate()


def ask(url: str) -> list[str]:
    """Return the recommended ids after a; none while the service does not answer."""
    body = json.dumps({"items": ["a"], "k": 2, "exclude_seen": True}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"X-API-Key": "k"})) as reply:
            return [item["id"] for item in json.load(reply)["items"]]
    except OSError:
        return []
