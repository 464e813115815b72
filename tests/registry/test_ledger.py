"""The ledger: which versions hold which place after which moves."""

import re
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.tables import RELEASES_SCHEMA
from lastaisle.registry.chain import ChainCheck
from lastaisle.registry.ledger import Ledger, LedgerConflictError, Move, standing


def move(action, from_version, to_version, move_id="m", alias=None):
    return Move(
        move_id=move_id,
        moved_at=datetime(2025, 10, 9, tzinfo=UTC),
        actor="tester",
        action=action,
        model_name="checkout-recommender",
        alias=alias or ("challenger" if action == "register" else "champion"),
        from_version=from_version,
        to_version=to_version,
        reason="because",
        run_id="r",
        run_key="k",
    )


def promoted(*versions):
    return [move("promote", None, version) for version in versions]


@pytest.mark.parametrize(
    ("moves", "champion", "previous"),
    [
        ([], None, None),
        (promoted("1"), "1", None),
        (promoted("1", "2", "3"), "3", "2"),
        ([*promoted("1", "2"), move("refuse", "2", "3")], "2", "1"),
        ([*promoted("1", "2", "3"), move("rollback", "3", "2")], "2", "1"),  # never back to the bad 3
        ([*promoted("1", "2", "3"), move("rollback", "3", "1")], "1", None),
        ([*promoted("1", "2"), move("rollback", "2", "1"), *promoted("4")], "4", "1"),
        ([*promoted("1", "2"), move("rollback", "2", "7")], "7", "2"),  # 7 was refused; 2 served before
        ([*promoted("1", "2"), move("rollback", "2", "1"), move("rollback", "1", "2")], "2", "1"),
        ([*promoted("1"), move("rollback", "1", "7"), move("rollback", "7", "1")], "1", None),
        ([*promoted("1", "2", "1")], "1", "2"),
        ([*promoted("1", "2", "3"), move("withdraw", "3", "2")], "3", "1"),
        ([*promoted("1", "2"), move("withdraw", "2", "2")], "2", "1"),  # it serves until another may
    ],
)
def test_the_standing_follows_the_moves(moves, champion, previous):
    result = standing(moves)
    assert (result.champion, result.previous) == (champion, previous)


@pytest.mark.parametrize(
    ("moves", "anchor"),
    [
        (promoted("1", "2"), None),  # ledgers of older releases
        ([*promoted("1"), move("anchor", None, "1", alias="anchor"), *promoted("2", "3")], "1"),
        ([*promoted("1", "2"), move("anchor", "1", "2", alias="anchor"), move("rollback", "2", "1")], "1"),
        ([*promoted("1", "2"), move("anchor", "1", "1", alias="anchor"), move("rollback", "2", "1")], "1"),
        ([*promoted("1", "2"), move("anchor", "1", "2", alias="anchor"), move("rollback", "2", "7")], "2"),
        ([*promoted("1", "2"), move("anchor", None, "1", alias="anchor"), move("lost", "2", "1")], None),
        ([*promoted("1", "2"), move("anchor", None, "1", alias="anchor"), move("lost", "2", "2")], "1"),
        ([*promoted("1", "2"), move("anchor", None, "1", alias="anchor"), move("withdraw", "2", "1")], None),
    ],
)
def test_the_anchor_stays_until_it_moves_is_lost_or_is_newer_than_the_version_rolled_back_to(moves, anchor):
    assert standing(moves).anchor == standing(moves).aliases["anchor"] == anchor


def step(action, from_version, to_version):
    return move(action, from_version, to_version, alias=action)


@pytest.mark.parametrize(
    ("moves", "shadow", "canary", "champion"),
    [
        ([step("shadow", None, "2")], "2", None, "1"),
        ([step("shadow", None, "2"), step("shadow", "2", "3")], "3", None, "1"),
        ([step("shadow", None, "2"), step("canary", None, "2")], None, "2", "1"),
        ([step("canary", None, "2"), step("shadow", None, "3")], "3", "2", "1"),
        ([step("canary", None, "2"), *promoted("2")], None, None, "2"),
        ([step("shadow", None, "2"), *promoted("2")], None, None, "2"),
        ([step("canary", None, "2"), move("retire", "2", "2", alias="canary")], None, None, "1"),
        ([step("shadow", None, "3"), move("retire", "3", "3", alias="shadow")], None, None, "1"),
        ([step("canary", None, "2"), step("shadow", None, "3"), *promoted("4")], "3", "2", "4"),
        ([step("canary", None, "2"), move("rollback", "1", "2")], None, None, "2"),
        ([step("canary", None, "2"), move("lost", "1", "2")], None, None, "1"),
        ([step("shadow", None, "2"), move("lost", "1", "2")], None, None, "1"),
        ([step("canary", None, "2"), move("withdraw", "1", "2")], None, None, "1"),
    ],
)
def test_a_version_is_shadow_canary_or_champion_and_never_two_of_them(moves, shadow, canary, champion):
    result = standing([*promoted("1"), *moves])
    assert (result.shadow, result.canary, result.champion) == (shadow, canary, champion)
    assert (result.aliases["shadow"], result.aliases["canary"]) == (shadow, canary)


def test_the_challenger_is_the_version_registered_last():
    assert (
        standing([move("register", None, "1"), move("register", "1", "2"), *promoted("1")]).challenger == "2"
    )


def test_a_move_is_written_once_and_read_in_order(tmp_path):
    ledger = Ledger(Lake(str(tmp_path)), "checkout-recommender")
    first, second = move("promote", None, "1", "a"), move("promote", "1", "2", "b")
    assert [ledger.write(entry) for entry in (first, second, first)] == [True, True, False]
    assert ledger.moves() == (first, second)
    assert ledger.find("b") == second
    assert ledger.find("c") is None
    assert Ledger(Lake(str(tmp_path)), "another").moves() == ()


def test_a_move_that_was_decided_before_another_move_is_refused(tmp_path):
    ledger = Ledger(Lake(str(tmp_path)), "checkout-recommender")
    ledger.write(move("promote", None, "1", "a"))
    with pytest.raises(LedgerConflictError, match="from version None, but version 1 holds it now"):
        ledger.write(move("promote", None, "2", "b"))
    assert ledger.standing().champion == "1"


def written(folder, *versions):
    """Return a ledger of promotions of these versions, one after the other."""
    ledger = Ledger(Lake(str(folder)), "checkout-recommender")
    for before, version in zip((None, *versions), versions, strict=False):
        ledger.write(move("promote", before, version, f"m{version}"))
    return ledger


def rewrite(ledger, rows):
    """Replace all rows of the ledger, as another program may do."""
    table = pa.Table.from_pylist(rows, schema=RELEASES_SCHEMA)
    ledger.lake.overwrite("releases", table, key=f"by hand {len(rows)} {ledger.lake.version('releases')}")


def changed(row, **values):
    return {**row, **values}


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        (lambda rows: rows[1:], r"entry \d+ \(promote of version 2"),
        (lambda rows: [rows[0], *rows[2:]], r"entry \d+ \(promote of version 3"),
        (lambda rows: rows[:-1], "the rows after entry .* were removed or added"),
        (lambda rows: [], "the rows after the start were removed"),
        (lambda rows: [*rows[:2], changed(rows[2], reason="x"), rows[3]], "promote of version 3"),
        (lambda rows: [changed(rows[0], actor="me"), *rows[1:]], "promote of version 1"),
        (lambda rows: [*rows[:3], changed(rows[3], chain=None)], "promote of version 4"),
        (lambda rows: [rows[0], changed(rows[1], digest="abc"), *rows[2:]], "promote of version 2"),
        (lambda rows: [*rows, changed(rows[3], entry=rows[3]["entry"] + 1)], "promote of version 4"),
        (lambda rows: [rows[0], rows[1], rows[1], *rows[2:]], "promote of version 2"),
        (lambda rows: [*rows, changed(rows[3], entry=99, chain=None)], "entry 99 .* has no digest"),
    ],
)
def test_a_row_that_was_changed_removed_or_added_is_named(tmp_path, forged, said):
    ledger = written(tmp_path, "1", "2", "3", "4")
    assert ledger.check().broken == ()
    rewrite(ledger, forged(ledger.rows()))
    assert re.search(said, ledger.check().broken[0])


def test_only_the_place_that_was_changed_is_named(tmp_path):
    ledger = written(tmp_path, "1", "2", "3", "4")
    first, second, *others = ledger.rows()
    rewrite(ledger, [first, changed(second, reason="nicer"), *others])
    assert len(ledger.check().broken) == 1
    assert ledger.write(move("promote", "4", "5", "m5")), "releases go on"
    assert len(ledger.check().broken) == 1


def test_compaction_and_a_wider_table_break_no_chain(tmp_path):
    ledger = written(tmp_path, "1", "2", "3")
    ledger.lake.table("releases").optimize.compact()
    end = ledger.check().end
    wider = ledger.lake.scan("releases").append_column("newer", pa.nulls(3, pa.string()))
    ledger.lake.overwrite("releases", wider, key="a newer release added a column")
    assert ledger.check() == ChainCheck(entries=3, unchained=0, end=end, broken=())
    assert ledger.write(move("promote", "3", "4", "m4"))
    assert ledger.check().broken == ()


def test_the_first_digest_covers_the_rows_of_older_releases(tmp_path):
    ledger = written(tmp_path, "1", "2")
    older = ledger.lake.scan("releases").drop_columns(["chain", "decision"])
    old = Ledger(Lake(str(tmp_path / "old")), "checkout-recommender")
    old.lake.append("releases", older, key="as an older release wrote it")
    assert (old.check().unchained, old.check().broken) == (2, ())
    assert old.write(move("promote", "2", "3", "m3"))
    assert (old.check().entries, old.check().unchained, old.check().broken) == (3, 2, ())
    rewrite(old, [changed(row, actor="me") if row["to_version"] == "1" else row for row in old.rows()])
    assert "entry 2 (promote of version 2" not in old.check().broken[0]
    assert "promote of version 3" in old.check().broken[0]
