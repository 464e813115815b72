"""A value is computed once for each state of its tables; a reader does not wait for the next one."""

import threading
import uuid

import pyarrow as pa
import pytest

from lastaisle.dashboard import source as sources
from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import ABANDONMENTS, ABANDONMENTS_SCHEMA

TABLES = [ABANDONMENTS]


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch):
    monkeypatch.setattr(sources, "LOOK_SECONDS", 0.0)


def add_row(source):
    rows = pa.Table.from_pylist([{"session_id": "s"}], ABANDONMENTS_SCHEMA)
    source.lake.append(ABANDONMENTS, rows, key=uuid.uuid4().hex)


def test_a_value_is_computed_once_while_its_tables_stay(source):
    add_row(source)
    computed = []
    values = [source.once("rows", TABLES, lambda: computed.append(1) or len(computed)) for _ in range(5)]
    assert values == [1] * 5


def test_a_newer_table_gives_a_newer_value_without_a_wait(source):
    add_row(source)
    go, computed = threading.Event(), []

    def compute():
        if computed:
            assert go.wait(10)
        computed.append(1)
        return len(computed)

    assert source.once("rows", TABLES, compute) == 1
    add_row(source)
    assert source.once("rows", TABLES, compute) == 1, "the old value, while the new one is computed"
    go.set()
    for _ in range(1000):
        if source.once("rows", TABLES, compute) == 2:
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("the new value never came")
    assert len(computed) == 2


def test_readers_at_the_same_moment_share_one_computation(source):
    computed, values, start = [], [], threading.Barrier(4)

    def read():
        start.wait()
        values.append(source.once("rows", TABLES, lambda: computed.append(1) or "value"))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert values == ["value"] * 4
    assert computed == [1]


def test_an_error_is_told_and_tried_again(source):
    def fail():
        raise NotEnoughDataError("no rows")

    with pytest.raises(NotEnoughDataError):
        source.once("rows", TABLES, fail)
    assert source.once("rows", TABLES, lambda: 7) == 7


def test_a_computation_asks_for_other_values_and_gets_the_newest(source):
    """The outer value would otherwise be made of the old inner one, and stay so until the next commit."""
    add_row(source)

    def rows():
        return source.lake.scan(ABANDONMENTS).num_rows

    def doubled():
        return 2 * source.once("rows", TABLES, rows)

    assert source.once("rows", TABLES, rows) == 1
    assert source.once("doubled", TABLES, doubled) == 2
    add_row(source)
    for _ in range(1000):
        if source.once("doubled", TABLES, doubled) != 2:
            break
        threading.Event().wait(0.01)
    assert source.once("doubled", TABLES, doubled) == 4


def test_computations_that_ask_for_the_same_value_do_not_wait_for_each_other(source):
    """There are fewer workers than computations, and each needs one more."""
    values = []

    def outer(name):
        values.append(source.once(name, TABLES, lambda: source.once("inner", TABLES, lambda: 1) + 1))

    readers = [threading.Thread(target=outer, args=(number,), daemon=True) for number in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(20)
    assert values == [2] * 8


def test_a_visitor_waits_no_longer_than_the_deadline(source):
    go = threading.Event()

    def compute():
        assert go.wait(10)
        return "value"

    token = sources.DEADLINE.set(0.0)
    try:
        with pytest.raises(sources.BeingReadError):
            source.once("slow", TABLES, compute)
        go.set()
    finally:
        sources.DEADLINE.reset(token)
    assert source.once("slow", TABLES, compute) == "value"
