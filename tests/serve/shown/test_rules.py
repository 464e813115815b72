"""Rules: pins and promotions stand where the file says, and show nothing that may not be shown."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastaisle.lake.tables import ITEMS_SCHEMA
from lastaisle.serve.shown.placing import Ranked, Request
from lastaisle.serve.shown.rule_file import RuleError
from lastaisle.serve.shown.rules import Rules
from lastaisle.serve.shown.shelf import Shelf
from lastaisle.serve.shown.view import ShelfView, Snapshot
from models.checkout_model import best_of
from tests.serve.shelves import YESTERDAY, Model, row, settings_of, store

NOW = datetime(2026, 12, 1, tzinfo=UTC)
IDS = [f"i{number:02}" for number in range(30)]
NEW = [f"n{number}" for number in range(5)]  # the catalogue knows them, and the model does not
MODEL = Model(*IDS)


def view_of(*sold_out: str, catalogue: bool = True) -> ShelfView:
    """Return a view of all items; the first ten are shoes, and n0 is the newest item."""
    if not catalogue:
        return ShelfView(MODEL.items, MODEL.index, None)
    rows = [
        row(
            item,
            available=item not in sold_out,
            category="shoes" if item in IDS[20:] else "new" if item in NEW else "other",
            price=float(number),
            valid_from=YESTERDAY - timedelta(minutes=number),
        )
        for number, item in enumerate([*NEW, *IDS])
    ]
    return ShelfView(
        MODEL.items, MODEL.index, Snapshot(pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA), NOW, None)
    )


VIEW = view_of()


@pytest.fixture(scope="session")
def rules_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")

    def read(text: str) -> Rules:
        path = folder / "rules.yaml"
        path.write_text(f"rules:\n{text}")
        return Rules(path)

    return read


def listed(
    rules: Rules, view: ShelfView = VIEW, *, k: int = 10, excluded: Any = (), **given: Any
) -> list[Ranked]:
    """Return a list as the service makes it: i00 has the highest score, i29 the lowest."""
    scores = np.append(-np.inf, np.linspace(1, 0, len(IDS))).astype(np.float32)
    if (penalties := view.penalties(given.get("filter"))) is not None:
        scores += penalties
    scores[[MODEL.index[item] for item in excluded if item in MODEL.index]] = -np.inf
    best = best_of(scores, k)
    ranked = [Ranked(str(MODEL.items[at]), float(scores[at]), "model") for at in best]
    asked = {"placement": "checkout", "filter": None, "seed": "s", "now": NOW} | given
    shown = rules.apply(ranked, Request(view=view, scores=scores, k=k, excluded=set(excluded), **asked))
    ids = [item.id for item in shown]
    assert len(ids) == len(set(ids)) <= k
    assert not {*ids} & {*excluded}
    return shown


def ids_of(shown: list[Ranked]) -> str:
    return " ".join(item.id if item.reason == "model" else f"{item.id}!" for item in shown)


def test_without_rules_the_list_stays(rules_of):
    for rules in (Rules(), rules_of("  []")):
        assert ids_of(listed(rules, k=3)) == "i00 i01 i02"


def test_pins_stand_at_their_place_and_the_list_keeps_its_length(rules_of):
    rules = rules_of("- {name: a, pin: {items: [i25, n3, i01], position: 2}}")
    shown = listed(rules, k=6)
    assert ids_of(shown) == "i00 i25! n3! i01! i02 i03"
    assert shown[1].reason == "rule:a"
    assert (shown[1].score, shown[2].score) == (pytest.approx(4 / 29), None)


def test_an_earlier_rule_goes_before_a_later_rule(rules_of):
    rules = rules_of(
        "- {name: a, pin: {items: [i20, i21]}}\n- {name: b, pin: {items: [i21, i22]}}\n"
        "- {name: c, pin: {items: [i23], position: 2}}"
    )
    shown = listed(rules, k=6)
    assert ids_of(shown) == "i20! i21! i22! i23! i00 i01"
    assert [item.reason for item in shown[:4]] == ["rule:a", "rule:a", "rule:b", "rule:c"]


def test_a_pin_behind_the_end_of_the_list_is_not_shown_and_a_short_list_is_not_stretched(rules_of):
    rules = rules_of("- {name: a, pin: {items: [i20, i21, i22], position: 9}}")
    assert ids_of(listed(rules, k=10)) == "i00 i01 i02 i03 i04 i05 i06 i07 i20! i21!"
    assert ids_of(listed(rules, k=8)) == "i00 i01 i02 i03 i04 i05 i06 i07"
    assert ids_of(listed(rules, k=10, filter="item_id in ['i00', 'i20']")) == "i00 i20!"


def test_promotions_are_spread_and_hold_the_best_items_that_the_list_lacks(rules_of):
    rules = rules_of("- {name: a, promote: {filter: category == 'shoes'}, share: 0.2}")
    assert ids_of(listed(rules)) == "i00 i01 i20! i02 i03 i04 i05 i21! i06 i07"
    few = rules_of("- {name: a, promote: {items: [i29, n1, i02, i28]}, share: 0.4}")
    assert ids_of(listed(few)) == "i00 i28! i01 i02 i03 i29! i04 i05 n1! i06"


def test_new_items_are_promoted_the_newest_first(rules_of):
    rules = rules_of("- {name: a, promote: {filter: category == 'new'}, share: 0.2}")
    assert ids_of(listed(rules)) == "i00 i01 n0! i02 i03 i04 i05 n1! i06 i07"


def test_rules_that_promote_take_turns_and_never_more_than_the_list(rules_of):
    rules = rules_of(
        "- {name: a, promote: {filter: category == 'shoes'}, share: 0.75}\n"
        "- {name: b, promote: {filter: category == 'new'}, share: 0.75}\n"
        "- {name: c, promote: {filter: category == 'new'}, share: 1}"
    )
    assert ids_of(listed(rules, k=4)) == "i20! n0! i21! i22!"


def test_only_the_rules_of_the_placement_and_of_the_time_apply(rules_of):
    rules = rules_of(
        "- {name: a, pin: {items: [i20]}, placements: [cart]}\n"
        "- {name: b, pin: {items: [i21]}, start: 2026-12-01T00:00:01Z}\n"
        "- {name: c, pin: {items: [i22]}, end: 2026-12-01T01:00:00+01:00}"
    )
    assert ids_of(listed(rules, k=2)) == "i00 i01"
    assert ids_of(listed(rules, k=2, placement="cart")) == "i20! i00"
    assert ids_of(listed(rules, k=2, now=NOW + timedelta(seconds=1))) == "i21! i00"
    assert ids_of(listed(rules, k=2, now=NOW - timedelta(seconds=1))) == "i22! i00"


def test_nothing_is_shown_that_may_not_be_shown(rules_of):
    rules = rules_of(
        "- {name: a, pin: {items: [i20, n0, i21, n1, unknown]}}\n"
        "- {name: b, promote: {items: [i22, n2, unknown]}, share: 0.2}\n"
        "- {name: c, promote: {filter: category == 'new'}, share: 1}"
    )
    assert ids_of(listed(rules, k=9)) == "i20! n0! i21! n1! i22! n3! i00 n2! n4!"
    sold_out = view_of("i20", "n0", "i22", "n2", "n3")
    assert {item.id for item in listed(rules, sold_out, k=9)} & {"i20", "n0", "i22", "n2", "n3"} == set()
    shown = listed(rules, excluded=["i20", "n1", "n2", "n3", "i00"])
    assert {item.id for item in shown} & {"n0", "i21", "i22", "n4"} == {"n0", "i21", "i22", "n4"}
    kept = listed(rules, filter="price < 2 or item_id == 'i21'")
    assert {item.id for item in kept} == {"n0", "n1", "i21"}


def test_without_a_catalogue_rules_show_items_of_the_model_alone(rules_of):
    rules = rules_of(
        "- {name: a, pin: {items: [i20, n0]}}\n- {name: b, promote: {items: [n1, i21]}, share: 0.5}\n"
        "- {name: c, promote: {filter: price < 5}, share: 0.5}"
    )
    assert ids_of(listed(rules, view_of(catalogue=False), k=4)) == "i20! i00 i21! i01"
    assert "the rule c shows nothing: " in rules.problem
    assert "no catalogue" in rules.problem


@pytest.mark.parametrize("k", [1, 3, 10, 20])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.33])
def test_the_share_holds_over_a_thousand_lists(rules_of, k, share):
    rules = rules_of(f"- {{name: a, promote: {{filter: category != 'other'}}, share: {share}}}")
    counts = [
        sum(item.reason == "rule:a" for item in listed(rules, k=k, seed=f"list {number}"))
        for number in range(1000)
    ]
    exact = share * k
    assert set(counts) <= {int(exact), int(exact) + 1}
    part = exact % 1
    assert abs(np.mean(counts) - exact) <= 4 * np.sqrt(part * (1 - part) / 1000) + 1e-9


def test_the_share_of_a_pin_bounds_its_slots(rules_of):
    rules = rules_of("- {name: a, pin: {items: [i20, i21, i22]}, share: 0.2}")
    assert ids_of(listed(rules)) == "i20! i21! i00 i01 i02 i03 i04 i05 i06 i07"


def test_the_same_seed_gives_the_same_list(rules_of):
    text = "- {name: a, promote: {filter: category == 'shoes'}, share: 0.25}"
    assert listed(rules_of(text), seed="x") == listed(rules_of(text), view_of(), seed="x")
    assert len({len([i for i in listed(rules_of(text), seed=str(s)) if i.score]) for s in range(3)}) == 1
    assert len({ids_of(listed(rules_of(text), seed=str(seed))) for seed in range(20)}) == 2


_ITEMS = st.lists(st.sampled_from([*IDS[::3], *NEW, "unknown"]), min_size=1, max_size=6, unique=True)
_PINS = st.tuples(_ITEMS, st.integers(1, 12)).map(lambda p: f"pin: {{items: {p[0]}, position: {p[1]}}}")
_SHARES = st.sampled_from([0.1, 0.25, 0.5, 1.0])
_PROMOTIONS = st.tuples(
    st.one_of(
        _ITEMS.map(lambda items: f"items: {items}"),
        st.sampled_from(["price < 20", "category == 'new'", "available"]).map(lambda text: f"filter: {text}"),
    ),
    _SHARES,
).map(lambda p: f"promote: {{{p[0]}}}, share: {p[1]}")


@given(
    st.lists(_PINS | _PROMOTIONS, max_size=4),
    st.integers(1, 20),
    st.sets(st.sampled_from([*IDS, *NEW])),
    st.sets(st.sampled_from([*IDS, *NEW])),
    st.sampled_from([None, "price < 12", "category == 'new'", "false"]),
)
def test_every_list_is_full_and_holds_only_what_may_be_shown(rules_of, texts, k, sold_out, excluded, kept):
    rules = rules_of("\n".join(f"- {{name: r{n}, {text}}}" for n, text in enumerate(texts)) or "  []")
    view = view_of(*sold_out)
    shown = listed(rules, view, k=k, excluded=excluded, filter=kept)
    fits = {None: lambda n: True, "price < 12": lambda n: n < 12, "false": lambda n: False}
    fits["category == 'new'"] = lambda n: n < len(NEW)
    possible = {
        item
        for number, item in enumerate([*NEW, *IDS])
        if item not in sold_out and item not in excluded and fits[kept](number)
    }
    assert {item.id for item in shown} <= possible
    assert len(shown) >= min(k, len(possible - set(NEW)))
    natural = [item.id for item in shown if item.reason == "model"]
    assert natural == sorted(natural)


def test_a_changed_file_is_read_again_and_the_last_good_rules_stay(tmp_path, caplog):
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: a, pin: {items: [i20]}}]")
    rules = Rules(path)
    assert ids_of(listed(rules, k=2)) == "i20! i00"
    path.write_text("rules: [{name: a, pin: {items: [i21, i22]}}]")
    rules.look()
    assert ids_of(listed(rules, k=2)) == "i21! i22!"
    for broken in ("rules: [{name: a, pins: {items: [i20]}}]", "", None):
        path.unlink() if broken is None else path.write_text(broken)
        rules.look()
        rules.look()
        assert "the last good rules stay" in rules.problem
        assert ids_of(listed(rules, k=2)) == "i21! i22!"
    assert caplog.text.count("cannot be used") == 3
    path.write_text("rules: []")
    rules.look()
    assert (rules.problem, ids_of(listed(rules, k=2))) == ("", "i00 i01")


def test_a_file_that_can_be_read_again_is_read_although_it_did_not_change(tmp_path, caplog, monkeypatch):
    path = tmp_path / "rules.yaml"
    path.write_text("rules: []")
    rules = Rules(path)
    path.write_text("rules: [{name: a, pin: {items: [i21]}}]")

    def refuse(*_: object, **__: object) -> str:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(type(path), "open", refuse)
        for _ in range(3):
            rules.look()
    assert caplog.text.count("Input/output error") == 1
    rules.look()
    assert (rules.problem, [rule.name for rule in rules.rules]) == ("", ["a"])


def test_a_file_that_cannot_be_used_refuses_the_start(tmp_path):
    path = tmp_path / "rules.yaml"
    with pytest.raises(RuleError, match="cannot be read"):
        Shelf(settings_of(tmp_path, rules=str(path)))
    path.write_text("rules: [{name: a}]")
    with pytest.raises(RuleError, match="line 1"):
        Shelf(settings_of(tmp_path, rules=str(path)))


def test_a_filter_that_the_catalogue_cannot_answer_is_a_problem_and_other_rules_stay(rules_of):
    rules = rules_of(
        "- {name: a, promote: {filter: prise < 5}, share: 0.5}\n- {name: b, pin: {items: [i20]}}"
    )
    assert ids_of(listed(rules, k=2)) == "i20! i00"
    assert "the rule a shows nothing: the filter is wrong at character 1" in rules.problem


def test_the_shelf_follows_catalogue_and_rules_together(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: a, pin: {items: [n9]}}]")
    settings = settings_of(tmp_path, rules=str(path))
    store(settings, *(row(item) for item in IDS))
    shelf = Shelf(settings)
    shelf.look()
    model: Any = MODEL
    assert ids_of(listed(shelf.rules, shelf.of(model), k=2)) == "i00 i01"
    store(settings, row("n9"))
    shelf.look()
    assert ids_of(listed(shelf.rules, shelf.of(model), k=2)) == "n9! i00"
    store(settings, row("n9", available=False, valid_from=datetime.now(UTC)))
    shelf.look()
    assert ids_of(listed(shelf.rules, shelf.of(model), k=2)) == "i00 i01"
    path.write_text("no rules")
    os.utime(path, (0, 0))
    shelf.rules.look()
    assert "the rules cannot be used" in shelf.problem
