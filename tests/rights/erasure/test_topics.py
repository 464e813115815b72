"""Topics of a real broker: tombstones for compacted topics, and the retention of others."""

import json
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from lastaisle.kafka.connection import KafkaConnection
from lastaisle.rights.erasure import Places, Subjects, erase
from lastaisle.rights.erasure.model import Topic
from tests.privacy.worlds import World, event

ANNA, BERTA = "anna@example.org", "berta@example.org"


def make(broker, name: str, policy: str) -> None:
    config = {"cleanup.policy": policy, "retention.ms": "172800000"}
    admin = AdminClient(broker.config)
    admin.create_topics([NewTopic(name, 2, 1, config=config)])[name].result(30)
    producer = Producer(broker.config)
    for key, user in (("anna-1", ANNA), ("anna-1", ANNA), ("berta", BERTA), (ANNA, "x"), (None, BERTA)):
        if key or policy == "delete":
            producer.produce(name, json.dumps({"user_id": user}).encode(), key=key)
    assert producer.flush(30) == 0


def run(world: World, broker, topic: str):
    topics = [Topic(topic, KafkaConnection(broker.config))]
    places = Places(world.lake, world.folder / "erasure", topics=topics)
    erased = erase(Subjects.of([ANNA], world.keys), places, dry_run=False)
    return erased, next(place for place in erased.places if place.kind == "topic")


@pytest.fixture
def name() -> str:
    return f"erasure-{uuid.uuid4().hex}"


def test_keys_of_a_compacted_topic_get_a_tombstone(broker, name, tmp_path):
    world = World(tmp_path / "world")
    world.ingest(event("a"))
    make(broker, name, "compact")
    erased, report = run(world, broker, name)
    assert erased.proven, erased.to_dict()
    assert (report.rows, report.found) == (2, 0)
    again, report = run(world, broker, name)
    assert again.proven
    assert report.rows == 0, "the newest message of each key is a tombstone"
    assert report.note.startswith("cleanup.policy is compact. 3 messages have a tombstone behind them")


def test_a_topic_that_is_not_compacted_says_when_its_messages_go(broker, name, tmp_path):
    world = World(tmp_path / "world")
    make(broker, name, "delete")
    erased, report = run(world, broker, name)
    assert not erased.proven
    assert report.found == 3
    assert "after 2 days" in report.note
    assert ANNA not in json.dumps(erased.to_dict())
