"""No raw identifier after raw_events; the same person has the same pseudonym; every batch exactly once."""

from __future__ import annotations

import hashlib
import hmac
from datetime import date

import pyarrow.parquet as pq
import pytest

from data_contracts.contract import load_contract
from data_contracts.document import PACKAGED
from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.run import ingest
from lastaisle.ingest.sources import adapter
from lastaisle.lake import Lake
from lastaisle.privacy.anonymize import AnonymizeError, anonymize_batch, anonymize_shard
from lastaisle.privacy.keys import PseudonymKeys
from tests.privacy.worlds import NOW, World, event


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_pseudonyms_are_hmac_sha256(world):
    world.ingest(
        event("a", session_id="visit-1", user_id="Jürgen 😀", event_type="order_completed", order_id="o-1")
    )
    row = world.events()[0]
    for name, text in {
        "user_id": "Jürgen 😀",
        "session_id": "visit-1",
        "order_id": "o-1",
    }.items():
        key = hmac.new(world.keys.key, f"lastaisle/{name}".encode(), hashlib.sha256).digest()
        assert row[name] == hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32]
    assert row["key_version"] == 1


def test_an_event_is_named_by_its_place_in_raw_events(world):
    batch = world.ingest(event("a"), event("b"))[0]
    assert [row["event_id"] for row in world.events()] == [f"{batch}{row << 16:016x}" for row in (1, 2)]


def test_no_raw_identifier_in_any_byte_of_the_events(world):
    raw = {
        "user_id": "anna@example.org",
        "session_id": "visit-4711",
        "order_id": "order-0815",
        "event_id": "event-x99",
    }
    referrer = "https://shop.example/account/anna?token=s3cr3t"
    world.ingest(
        event("item", event_type="order_completed", referrer=referrer, region="DE-BY-80331", **raw),
        event("other", user_id="berta-0001"),
    )
    secrets = [*raw.values(), "berta-0001", "s3cr3t", "/account", "80331", world.keys.key.hex()]
    files = [path for path in (world.folder / "lake" / "events").rglob("*") if path.is_file()]
    stored = b"".join(path.read_bytes() for path in files)
    assert b"shop.example" in stored or any(path.suffix == ".parquet" for path in files)
    for path in files:
        if path.suffix == ".parquet":  # pages are packed: look at what they hold, too
            stored += repr(pq.ParquetFile(path).read().to_pylist()).encode()
    assert b"shop.example" in stored
    assert [text for text in secrets if text.encode() in stored] == []


def test_times_and_places_are_coarser(world):
    given = event(
        "a", occurred_at="2025-10-09T12:34:56.789Z", received_at="2025-10-09T12:35:59Z", region="DE-BY-80331"
    )
    world.ingest(given | {"referrer": "https://Search.Example/?q=me"})
    row = world.events()[0]
    assert row["occurred_at"].isoformat() == "2025-10-09T12:34:56+00:00"
    assert row["received_at"].isoformat() == "2025-10-09T12:35:00+00:00"
    assert (row["region"], row["referrer"]) == ("DE-BY", "search.example")


def test_sequence_keeps_the_order_of_events_of_the_same_second(world):
    times = {"late": ".900", "early": ".100", "middle": ".500"}
    world.ingest(*(event(item, occurred_at=f"2025-10-09T12:00:00{part}Z") for item, part in times.items()))
    assert {row["occurred_at"].microsecond for row in world.events()} == {0}
    ordered = sorted(world.events(), key=lambda row: row["sequence"])
    assert [row["item_id"] for row in ordered] == ["early", "middle", "late"]


def test_sessions_end_after_thirty_minutes_of_silence(world):
    world.ingest(
        event("a", 0), event("b", 30), event("c", 60.1), event("d", 61), event("e", 1, user_id="berta")
    )
    assert list(world.sessions().values()) == [["a", "b"], ["c", "d"], ["e"]]


def test_a_session_continues_in_the_next_file(world):
    world.ingest(event("a", 0))
    world.ingest(event("b", 20), event("c", 45))
    world.ingest(event("d", 76))
    assert list(world.sessions().values()) == [["a", "b", "c"], ["d"]]


def test_a_session_continues_past_midnight(world):
    world.ingest(event("a", 11 * 60 + 50), event("b", 12 * 60 + 5))
    assert list(world.sessions().values()) == [["a", "b"]]
    assert {row["event_date"] for row in world.events()} == {date(2025, 10, 9), date(2025, 10, 10)}


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_a_long_visit_is_one_session_in_any_order_of_its_hours(world, order):
    """If a visit reaches more than two hours beyond a batch, all of its events are read."""
    visit = [event(f"{number:02}", 25 * number) for number in range(20)]
    parts = [visit[:9], [event("x", 0, user_id="berta")], visit[9:10], visit[10:]]
    for part in parts if order == "forwards" else parts[::-1]:
        world.ingest(*part)
    assert list(world.sessions().values()) == [[row["item_id"] for row in visit], ["x"]]


def test_given_sessions_are_kept(world):
    world.ingest(event("a", 0, session_id="s"), event("b", 500, session_id="s"), event("c", 1))
    assert list(world.sessions().values()) == [["a", "b"], ["c"]]


def test_a_batch_is_anonymized_once(world):
    batch = world.ingest(event("a"))[0]
    version = world.lake.version("events")
    report = anonymize_batch(batch, world.lake, world.keys)
    assert (report.rows, report.days) == (1, (date(2025, 10, 9),))
    assert world.lake.version("events") == version


def test_an_unknown_batch_is_an_error(world):
    with pytest.raises(AnonymizeError, match="ingest its file first"):
        anonymize_batch("nothing", world.lake, world.keys)


def test_the_key_is_never_printed(world):
    assert world.keys.key.hex() not in repr(world.keys)
    assert repr(world.keys.key) not in repr(world.keys)


def test_the_order_of_the_batches_makes_no_difference(tmp_path):
    """This also holds if a late batch starts a session earlier, or joins two sessions."""
    batches = [
        [event("a", 0), event("x", 0, user_id="berta")],
        [event("b", 20), event("c", 55)],
        [event("d", 40)],
        [event("e", 11 * 60 + 50, user_id="berta")],
        [event("f", 12 * 60 + 10, user_id="berta"), event("g", 13 * 60)],
    ]
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", environ={})
    found = []
    for number, order in enumerate(([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1])):
        world = World(tmp_path / str(number))
        world.keys = keys
        for place in order:
            world.ingest(*batches[place])
        found.append({row["item_id"]: row["session_id"] for row in world.events()})
    assert found[0] == found[1] == found[2]
    names = [found[0][item] for item in "abcdxefg"]
    assert len(set(names[:4])) == 1
    assert names[5] == names[6] != names[4] != names[7]


def test_shards_give_the_same_events_as_one_task(tmp_path):
    """Each shard holds all rows of its users, and a finished shard is not run again."""
    batches = [[event(f"{user}{n}", 25 * n, user_id=f"user-{user}") for user in "abcdefgh"] for n in range(3)]
    keys = PseudonymKeys.load_or_create(tmp_path / "keys.json", environ={})
    found = []
    for shards in (1, 3):
        world = World(tmp_path / str(shards))
        world.keys = keys
        for batch in batches:
            world.stage(batch, shards)
        for shard in [*range(shards), 0]:
            anonymize_shard(shard, world.lake, keys)
        events = world.events()
        assert len(events) == 24
        found.append([(row["item_id"], row["session_id"], row["event_id"]) for row in events])
    assert found[0] == found[1]
    assert len({session for _, session, _ in found[0]}) == 8


def test_a_batch_in_shards_is_not_anonymized_again_as_a_whole(world):
    """The next call, for the batch or for its file, finishes the missing shards."""
    world.stage([event(f"{user}", user_id=f"user-{user}") for user in "abcdefgh"], 3)
    anonymize_shard(1, world.lake, world.keys)
    (batch_id,) = world.lake.scan("batches")["batch_id"].to_pylist()
    assert anonymize_batch(batch_id, world.lake, world.keys).rows == 8
    source = str(world.folder / "1.jsonl")
    assert ingest(source, "canonical", world.lake, world.keys, now=NOW).rows_duplicate == 8
    for shard in range(3):
        anonymize_shard(shard, world.lake, world.keys)
    assert len(world.events()) == 8


def test_rows_anonymized_at_ingestion_leave_no_shards_to_do(world):
    world._write(event("a"), event("b"))
    options = IngestOptions(gx_sample_rows=0, shards=3)
    ingest(f"{world.folder}/1.jsonl", "canonical", world.lake, world.keys, now=NOW, options=options)
    assert [anonymize_shard(shard, world.lake, world.keys) for shard in range(3)] == [[], [], []]
    assert len(world.events()) == 2


@pytest.mark.parametrize(
    ("contract", "old", "new", "reason"),
    [
        (
            "raw_events",
            "public: keep",
            "public: drop",
            "asks for event_type, which raw_events drops; item_id",
        ),
        (
            "raw_events",
            "value: {coarsen: {host_only: true}}",
            "value: drop",
            "asks for referrer, which raw_events drops: nothing was read",
        ),
        ("events", "- name: currency\n", "- name: money\n", "asks for money, which raw_events does not have"),
        (
            "events",
            "{format: i64, minimum: 0}",
            "{minimum: 0}",
            "dwell_ms as int32, which raw_events leaves as",
        ),
    ],
)
def test_contracts_that_do_not_fit_together_are_refused_before_any_row(tmp_path, contract, old, new, reason):
    text = (PACKAGED / f"{contract}.odcs.yaml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / f"{contract}.odcs.yaml"
    path.write_text(text.replace(old, new))
    contracts = {"raw_events": load_contract("raw_events"), "events": load_contract("events")}
    contracts[contract] = load_contract(path)

    with pytest.raises(AnonymizeError) as refused:
        Ingestion(
            Lake(tmp_path / "lake"),
            adapter("canonical"),
            contracts["raw_events"],
            events_contract=contracts["events"],
        )

    assert reason in str(refused.value)
    assert str(path) in str(refused.value)
