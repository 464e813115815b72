"""Where an erasure looks outside the lake: topics and folders that settings and environment name."""

import errno
import json
import os
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from lastaisle.ingest.kafka.dead_letters import SUFFIX
from lastaisle.kafka.connection import VARIABLE, KafkaConnection
from lastaisle.kafka.errors import KafkaSourceError
from lastaisle.rights.erasure import folders
from lastaisle.rights.places import DEAD_LETTERS, folders_of, topics_of
from lastaisle.rights.requests import find_request
from lastaisle.rights.work import Desk, ask, work
from lastaisle.settings import Settings

from .conftest import ANNA, BERTA

BROKER = KafkaConnection({"bootstrap.servers": "nowhere:9"})


def place(counts, name):
    return next(each for each in counts["places"] if each["place"] == name)


def test_the_topics_of_ingestion_and_of_the_service_are_searched_once():
    settings = Settings.of(
        source="kafka://shop/clicks,orders",
        exposures="kafka://shop/shown",
        serve_feedback="kafka://other/shown",
        catalogue="kafka://shop/items",
        control_topic="kafka://shop/control",
    )
    asked = []
    topics = topics_of(settings, lambda name: asked.append(name) or BROKER)
    assert DEAD_LETTERS == SUFFIX
    assert [topic.place for topic in topics if not topic.may_be_absent] == [
        *("kafka/shop/clicks", "kafka/shop/orders", "kafka/shop/shown", "kafka/other/shown")
    ]
    assert [topic.name for topic in topics if topic.may_be_absent] == [
        *("clicks.dead-letters", "orders.dead-letters", "shown.dead-letters", "shown.dead-letters")
    ]
    assert asked == ["shop", "other"]
    assert topics_of(Settings.of(source="landing/{day}")) == ()


def test_folders_outside_the_home_are_searched_and_those_inside_are_not_named_twice(tmp_path):
    home = tmp_path / "home"
    for folder in ("home/subjects", "requests", "feedback/2025-10-09", "air/logs", "home/airflow/logs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "air" / "airflow.db").touch()
    (tmp_path / "mlflow.db").touch()
    settings = Settings.of(
        home=str(home),
        serve_feedback=str(tmp_path / "feedback" / "{day}"),
        mlflow_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
    )
    assert folders_of(settings, tmp_path / "requests", {"AIRFLOW_HOME": str(tmp_path / "air")}) == {
        "requests": tmp_path / "requests",
        "feedback": tmp_path / "feedback",
        "airflow/logs": tmp_path / "air" / "logs",
        "airflow/database": tmp_path / "air" / "airflow.db",
        "mlflow/database": tmp_path / "mlflow.db",
    }
    inside = Settings.of(home=str(home))
    assert folders_of(inside, home / "subjects", {}) == {}
    elsewhere = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://airflow@postgres/airflow"}
    assert folders_of(inside, home / "subjects", elsewhere) == {}


def test_lines_of_airflows_logs_are_blanked_inside_and_outside_the_home(shop, monkeypatch):
    logs = [shop.folder / "airflow" / "logs" / "dag" / "1.log", shop.folder.parent / "air" / "logs" / "2.log"]
    for log in logs:
        log.parent.mkdir(parents=True)
        log.write_text(f"refused {ANNA}\nup\n")
    monkeypatch.setenv("AIRFLOW_HOME", str(shop.folder.parent / "air"))
    done = work(shop.desk, ask(shop.desk, "erase", [ANNA], "clerk").request_id, actor="clerk")
    assert [log.read_text().split() for log in logs] == [["up"], ["up"]]
    assert place(done.last.counts, "airflow/logs")["rows"] == 1
    assert done.last.counts["proven"]
    told = place(done.last.counts, "kafka")
    assert (told["note"], told["found"]) == ("no broker is configured", 0)


def test_files_that_may_only_be_read_are_named_and_the_receipt_proves_nothing_of_them(shop, monkeypatch):
    shown = shop.folder.parent / "shown" / "2025-10-09.jsonl"
    shown.parent.mkdir()
    shown.write_text(json.dumps({"user_id": ANNA}))

    def refuse(path, asked):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(folders, "_blank_lines", refuse)  # as on a volume that is mounted to be read
    desk = Desk.of(shop.settings.replace(serve_feedback=str(shown.parent / "{day}")), shop.lake)
    done = work(desk, ask(desk, "erase", [ANNA], "clerk").request_id, actor="clerk")
    assert not done.last.counts["proven"]
    assert "may only be read here" in place(done.last.counts, "feedback")["unsearched"]


def test_topics_without_a_connection_keep_the_request_open(shop, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    desk = Desk.of(shop.settings.replace(source="kafka://shop/clicks"), shop.lake)
    name = ask(desk, "erase", [ANNA], "clerk").request_id
    with pytest.raises(KafkaSourceError, match="LASTAISLE_KAFKA should be a JSON object"):
        work(desk, name, actor="clerk")
    assert (find_request(shop.lake, name).last.state, desk.inbox.names()) == ("failed", [name])


def test_an_erasure_writes_tombstones_into_the_topics_of_the_settings(shop, broker):
    clicks = f"clicks-{uuid.uuid4().hex}"
    admin = AdminClient(broker.config)
    made = admin.create_topics([NewTopic(clicks, 1, 1, config={"cleanup.policy": "compact"})])
    made[clicks].result(30)
    producer = Producer(broker.config)
    for user in (ANNA, BERTA):
        producer.produce(clicks, json.dumps({"user_id": user}).encode(), key=user)
    assert producer.flush(30) == 0
    settings = shop.settings.replace(source=f"kafka://shop/{clicks}", exposures="kafka://shop/none-such")
    desk = Desk.of(settings, shop.lake, None, lambda name: KafkaConnection(broker.config))
    done = work(desk, ask(desk, "erase", [ANNA], "clerk").request_id, actor="clerk")
    told = place(done.last.counts, f"kafka/shop/{clicks}")
    assert (told["rows"], told["found"]) == (1, 0)
    assert told["note"].startswith("cleanup.policy is compact. 1 messages have a tombstone behind them")
    assert "has no such topic" in place(done.last.counts, f"kafka/shop/{clicks}.dead-letters")["note"]
    missing = place(done.last.counts, "kafka/shop/none-such")
    assert ("no such topic" in missing["unsearched"], done.last.counts["proven"]) == (True, False)
    assert "none-such" not in admin.list_topics(timeout=30).topics
