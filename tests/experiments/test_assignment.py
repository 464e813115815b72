"""The arm of a shopper: the same in Python and in SQL, and kept from phase to phase."""

from __future__ import annotations

import itertools

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastaisle.experiments.assignment import (
    BUCKETS,
    Range,
    arm_at,
    arm_sql,
    bucket_of,
    bucket_sql,
    ranges_of_phases,
)

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=4).map(
    lambda sizes: {f"arm{at}": size / max(1.0, sum(sizes)) for at, size in enumerate(sizes)}
)


@given(st.text(max_size=20), st.text(max_size=40).filter(lambda unit: "\x00" not in unit))
def test_sql_gives_the_bucket_of_python(salt, unit):
    if "\x00" in salt:
        return
    found = duckdb.execute(f"SELECT {bucket_sql(salt, '?')}", [unit]).fetchone()
    assert found == (bucket_of(salt, unit),)


def test_sql_gives_the_arm_of_python():
    ranges = (Range("control", 0, 3000), Range("new", 3000, 9000))
    rows = duckdb.execute(f"SELECT b, {arm_sql(ranges, 'b')} FROM range({BUCKETS}) t(b)").fetchall()
    assert all(arm == arm_at(ranges, bucket) for bucket, arm in rows)
    assert duckdb.execute(f"SELECT {arm_sql((), '1')}").fetchone() == (None,)


@given(st.lists(SHARES, min_size=1, max_size=4))
def test_an_arm_has_its_share_and_keeps_its_buckets_while_it_grows(phases):
    made = ranges_of_phases(phases)
    for shares, ranges in zip(phases, made, strict=True):
        for arm, share in shares.items():
            held = sum(end - first for name, first, end in ranges if name == arm)
            assert held == pytest.approx(share * BUCKETS, abs=1)
        assert all(before.end <= after.first for before, after in itertools.pairwise(ranges))
    for before, after in itertools.pairwise(made):
        for arm in {name for name, _, _ in before}:
            held, later = buckets(before, arm), buckets(after, arm)
            assert held <= later or later <= held


def test_shares_of_more_than_all_shoppers_are_refused():
    with pytest.raises(ValueError, match="at most 1 together"):
        ranges_of_phases([{"control": 0.7, "new": 0.4}])


def test_arms_get_equal_parts_of_pseudonyms():
    [ranges] = ranges_of_phases([{"control": 0.5, "new": 0.5}])
    arms = [arm_at(ranges, bucket_of("demo", f"{number:032x}")) for number in range(20_000)]
    assert arms.count("new") == pytest.approx(10_000, abs=4 * 71)


def buckets(ranges: tuple[Range, ...], arm: str) -> set[int]:
    return {bucket for name, first, end in ranges if name == arm for bucket in range(first, end)}
