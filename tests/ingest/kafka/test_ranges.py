"""The plan of a run: plain arithmetic, no broker."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastaisle.ingest.kafka.ranges import Watermarks, plan, range_key, share
from lastaisle.kafka.address import KafkaSource, is_kafka, parse_source
from lastaisle.kafka.errors import KafkaSourceError, OffsetsWentBackError


def marks(partition: int = 0, low: int = 0, end: int = 100, topic_id: str = "id-1") -> Watermarks:
    return Watermarks("cluster", "clicks", topic_id, partition, low, end)


def spans(planned) -> list[tuple[int, int, int]]:
    return [(one.partition, one.start, one.end) for one in planned.ranges]


APP = marks().app_id


def test_a_new_partition_starts_at_its_oldest_offset_and_a_known_one_at_its_ingested_offset():
    planned = plan([marks(0, 5, 30), marks(1, 7, 20)], {marks(0).app_id: 12})
    assert spans(planned) == [(0, 12, 30), (1, 7, 20)]
    assert planned.lag == {marks(0).app_id: 18, marks(1).app_id: 13}
    assert (planned.gaps, planned.left) == ((), 0)


def test_batches_follow_one_another_and_keep_their_partition_together():
    planned = plan([marks(1, end=25), marks(0, end=10)], {}, batch_rows=10)
    assert spans(planned) == [(0, 0, 10), (1, 0, 10), (1, 10, 20), (1, 20, 25)]
    assert [[one.start for one in chain] for chain in planned.by_partition()] == [[0], [0, 10, 20]]
    assert plan([marks(end=0)], {}).ranges == ()


def test_a_run_is_bounded_and_shared_and_says_what_it_leaves():
    planned = plan([marks(0, end=1000), marks(1, end=10), marks(2, end=1000)], {}, max_rows=110)
    assert spans(planned) == [(0, 0, 50), (1, 0, 10), (2, 0, 50)]
    assert planned.left == 1900


def test_offsets_deleted_by_retention_are_reported_and_reading_continues_after_them():
    planned = plan([marks(low=40)], {APP: 15})
    (gap,) = planned.gaps
    assert (gap.topic, gap.partition, gap.start, gap.end, len(gap)) == ("clicks", 0, 15, 40, 25)
    assert "clicks/0: offsets 15 to 39 (25)" in str(gap)
    assert spans(planned) == [(0, 40, 100)]
    assert planned.lag == {APP: 60}


def test_a_batch_that_was_begun_is_planned_again_with_its_own_end_and_id():
    before = plan([marks(end=50)], {}, batch_rows=20).ranges[0]
    after = plan([marks(end=90)], {}, {before.key: before.end}, batch_rows=50, max_rows=30)
    assert spans(after) == [(0, 0, 20), (0, 20, 30)]
    assert after.ranges[0].batch_id == before.batch_id
    assert after.ranges[1].batch_id != before.batch_id


def test_a_batch_that_was_begun_keeps_its_range_even_if_its_rows_were_deleted():
    partly = plan([marks(low=15)], {APP: 10}, {range_key(APP, 10): 20})
    assert spans(partly) == [(0, 10, 20), (0, 20, 100)]
    assert [(gap.start, gap.end) for gap in partly.gaps] == [(10, 15)]
    wholly = plan([marks(low=30)], {APP: 10}, {range_key(APP, 10): 20})
    assert spans(wholly) == [(0, 10, 20), (0, 30, 100)]
    assert [(gap.start, gap.end) for gap in wholly.gaps] == [(10, 20), (20, 30)]
    first_of_all = plan([marks(low=5)], {}, {range_key(APP, 0): 20})
    assert spans(first_of_all) == [(0, 0, 20), (0, 20, 100)]


@pytest.mark.parametrize(("committed", "started"), [({APP: 101}, {}), ({APP: 90}, {range_key(APP, 90): 101})])
def test_a_partition_that_ends_before_the_ingested_offset_stops_the_run(committed, started):
    with pytest.raises(OffsetsWentBackError, match="clicks/0 ends at offset 100, but 101 was reached"):
        plan([marks()], committed, started)


def test_a_topic_created_again_is_another_topic():
    assert spans(plan([marks(topic_id="id-2", end=3)], {APP: 100})) == [(0, 0, 3)]
    assert marks(topic_id="id-2").app_id != APP


@given(
    held=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 80)), min_size=1, max_size=6),
    max_rows=st.integers(1, 200),
    batch_rows=st.integers(1, 60),
)
def test_over_many_runs_every_offset_is_planned_exactly_once(held, max_rows, batch_rows):
    every = [marks(number, low, low + rows) for number, (low, rows) in enumerate(held)]
    committed: dict[str, int] = {}
    for _ in range(2 + sum(rows for _, rows in held)):
        planned = plan(every, committed, max_rows=max_rows, batch_rows=batch_rows)
        assert sum(map(len, planned.ranges)) == min(max_rows, sum(planned.lag.values()))
        assert planned.left == sum(planned.lag.values()) - sum(map(len, planned.ranges))
        for one in planned.ranges:
            assert 0 < len(one) <= batch_rows
            assert one.start == committed.get(one.app_id, every[one.partition].low)
            committed[one.app_id] = one.end
        if not planned.ranges:
            break
    assert all(committed.get(one.app_id, one.low) == one.end for one in every)


@given(st.lists(st.integers(0, 100), max_size=8), st.integers(0, 500))
def test_shares_are_even_and_nothing_is_wasted(wanted, total):
    shares = share(wanted, total)
    assert sum(shares) == min(total, sum(wanted))
    assert all(got <= want for got, want in zip(shares, wanted, strict=True))
    cut = [got for got, want in zip(shares, wanted, strict=True) if got < want]
    assert max(cut, default=0) - min(cut, default=0) <= 1


def test_bounds_below_one_are_refused():
    with pytest.raises(ValueError, match="received 0"):
        plan([marks()], {}, max_rows=0)


def test_a_range_names_its_place():
    (one,) = plan([marks()], {APP: 40}).ranges
    assert one.url == "kafka://cluster/clicks/0?start=40&end=100"
    assert one.batch_id == replace(one, end=70).batch_id != replace(one, start=41).batch_id


def test_an_address_names_a_connection_and_topics():
    source = parse_source("kafka://shop/clicks,orders,clicks")
    assert source == KafkaSource("shop", ("clicks", "orders"))
    assert str(source) == "kafka://shop/clicks,orders"
    assert is_kafka(str(source))
    assert not is_kafka("/data/clicks")


@pytest.mark.parametrize(
    "address", ["kafka://", "kafka://shop", "kafka://shop/", "kafka:///clicks", "kafka://shop/a b"]
)
def test_an_address_that_names_none_is_refused(address):
    with pytest.raises(KafkaSourceError, match="kafka://<connection>/<topic>"):
        parse_source(address)
