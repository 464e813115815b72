"""A service follows an alias in a real MLflow: promotions, rollbacks, outages, damage, kills."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from lastaisle.serve.following import loading
from lastaisle.serve.following.served import Follower
from lastaisle.settings import Settings
from tests.serve.mlflow_store import MlflowServer, Store
from tests.services.waiting import wait_until

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Versions 1 and 2 in a database and a folder on this machine."""
    store = Store(tmp_path_factory.mktemp("store"))
    assert [store.add("first"), store.add("second")] == ["1", "2"]
    return store


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A running MLflow server, and versions 1 and 2 that it serves with their files."""
    folder = tmp_path_factory.mktemp("server")
    server = MlflowServer(folder)
    server.start()
    store = Store(folder / "home", mlflow_uri=server.url, mlflow_artifacts="mlflow-artifacts:/")
    assert [store.add("first"), store.add("second")] == ["1", "2"]
    yield server, store
    server.kill()


class Service:
    """A follower with a cache of its own, and what it told."""

    def __init__(self, settings, cache, **changes):
        self.told = []
        self.cache = cache
        self.settings = settings.replace(serve_cache=str(cache), **changes)
        self.follower = Follower(self.settings, on_event=self.told.append)

    def start(self, version=None):
        self.follower.start()
        return self.serves(version) if version else self

    def serves(self, version):
        wait_until(f"version {version} serves, not: {self.told}", lambda: self.version == version, timeout=20)
        return self

    def has_problem(self, text):
        wait_until(f"the problem {text!r}: {self.told}", lambda: text in self.follower.problem, timeout=20)
        return self

    @property
    def version(self):
        current = self.follower.current
        return current and current.version

    def answer(self):
        return self.follower.current.model.recommend(["a"], k=1, exclude_seen=True)[0]

    def light(self, version):
        """Return the folder of a version in the cache."""
        (folder,) = (self.cache / "versions").glob(f"{version}-*")
        return folder / "light"


@pytest.fixture
def make_service(tmp_path):
    """Make services; all of a test share a cache, unless it says otherwise."""
    made = []

    def make(store, cache=None, **changes):
        made.append(Service(store.settings, cache or tmp_path / "cache", **changes))
        return made[-1]

    yield make
    for service in made:
        service.follower.stop()


def test_a_service_sees_a_rollback_within_5_seconds(store, make_service, record_property):
    """The service asks MLflow as often as it does by default."""
    store.promote("2")
    usual = Settings.of(home=store.home).serve.poll_seconds
    service = make_service(store, serve_poll_seconds=usual).start("2")
    moved = time.monotonic()
    store.promote("1")
    service.serves("1")
    seconds = time.monotonic() - moved
    record_property("seconds_to_see_a_rollback", round(seconds, 2))
    assert seconds < 5


def test_it_follows_a_promotion_and_a_rollback(store, make_service):
    store.promote("1")
    service = make_service(store).start("1")
    first = service.follower.current
    assert (first.name, first.alias, first.run_id) == (
        "checkout-recommender", "champion", store.registry.run_of("1"),
    )  # fmt: skip
    assert first.digest == store.registry.digest_of_version("1")
    assert service.answer() == ["first"]
    store.promote("2")
    service.serves("2")
    assert service.answer() == ["second"]
    store.promote("1")
    service.serves("1")
    assert service.answer() == ["first"]
    assert [text.rpartition(", ")[2] for text in service.told] == [
        "from MLflow",
        "from MLflow",
        "from the cache",
    ]
    assert service.follower.age_seconds < 10


@pytest.mark.service
def test_it_follows_over_http_and_goes_on_while_mlflow_is_away(server, make_service, tmp_path, caplog):
    mlflow, store = server
    store.promote("1")
    service = make_service(store).start("1")
    mlflow.kill()
    service.has_problem(f"MLflow at {mlflow.url} cannot be asked: ConnectionRefusedError")
    assert service.answer() == ["first"]
    urllib3 = [record for record in caplog.records if record.name.startswith("urllib3")]
    assert not urllib3, "each poll would write a line"
    time.sleep(1)
    assert sum("cannot be asked" in text for text in service.told) == 1, service.told
    other = make_service(store).start("1")
    assert other.answer() == ["first"]
    new = make_service(store, cache=tmp_path / "new").start().has_problem("cannot be asked")
    assert new.version is None
    mlflow.start()
    store.promote("2")
    for each in (service, other, new):
        each.serves("2")
        wait_until("the problem is over", lambda each=each: not each.follower.problem)
    assert any(text.startswith("solved: ") for text in service.told)


def test_it_starts_from_the_cache_before_it_imports_mlflow(store, make_service):
    store.promote("1")
    make_service(store).start("1").follower.stop()
    cache = make_service(store).cache
    script = """
import sys
from pathlib import Path
from lastaisle.serve.following.served import Follower
from lastaisle.settings import Settings
home, cache = sys.argv[1:]
follower = Follower(Settings.of(home=home, serve_cache=cache), on_event=print)
heavy = {"mlflow", "tensorflow", "pandas"}
follower.add_listener(lambda _: print(heavy & sys.modules.keys()))
follower._start_from_cache()
assert follower.current.version == "1"
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.home), str(cache)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "set()"


def test_a_file_of_the_cache_that_changed_is_named_and_fetched_anew(store, make_service):
    store.promote("1")
    service = make_service(store).start("1")
    service.follower.stop()
    file = service.light("1") / "vocabulary.json"
    file.write_text(file.read_text().replace("first", "false"))
    again = make_service(store).start("1")
    assert again.answer() == ["first"]
    assert any("vocabulary.json has changed" in text for text in again.told), again.told
    assert "false" not in (again.light("1") / "vocabulary.json").read_text()


@pytest.mark.parametrize(
    "damage",
    [
        lambda cache: [file.write_text("{") for file in cache.glob("versions/*/version.json")],
        lambda cache: [file.unlink() for file in cache.glob("versions/*/version.json")],
        lambda cache: [file.unlink() for file in cache.glob("versions/*/light/model.tflite")],
        lambda cache: [shutil.rmtree(file) for file in cache.glob("versions/*/light")],
        lambda cache: [file.write_text("[]") for file in cache.glob("following/*.json")],
        lambda cache: [file.write_bytes(b"\xff") for file in cache.glob("following/*.json")],
        lambda cache: [file.write_text('{"version": "../x"}') for file in cache.glob("following/*.json")],
        lambda cache: [file.write_text('{"version": null}') for file in cache.glob("following/*.json")],
        lambda cache: shutil.rmtree(cache / "versions"),
        shutil.rmtree,
    ],
)
def test_a_damaged_cache_does_not_keep_a_version_from_serving(store, make_service, damage):
    store.promote("1")
    service = make_service(store).start("1")
    service.follower.stop()
    damage(service.cache)
    again = make_service(store).start("1")
    assert again.answer() == ["first"]
    wait_until("no problem is left", lambda: not again.follower.problem)


def test_a_damaged_new_version_leaves_the_last_good_one(store, make_service):
    store.promote("1")
    service = make_service(store).start("1")
    (file,) = (
        file
        for file in store.home.glob("mlflow/artifacts/**/light/vocabulary.json")
        if "second" in file.read_text()
    )
    good = file.read_text()
    file.write_text(good.replace("second", "broken"))
    try:
        store.promote("2")
        service.has_problem("light/vocabulary.json has changed")
        assert service.answer() == ["first"]
        time.sleep(1)
        assert sum("has changed" in text for text in service.told) == 1
    finally:
        file.write_text(good)
    service.serves("2")
    wait_until("no problem is left", lambda: not service.follower.problem)


def test_files_that_fit_each_other_but_were_not_registered_do_not_serve(store, make_service):
    """The manifest of another model fits its files, but not the digest that MLflow has."""
    store.promote("1")
    service = make_service(store).start("1")
    lights = {
        "first" if "first" in (file.parent / "vocabulary.json").read_text() else "second": file.parent
        for file in store.home.glob("mlflow/artifacts/**/light/manifest.json")
    }
    kept = store.home / "kept"
    lights["second"].rename(kept)
    shutil.copytree(lights["first"], lights["second"])
    try:
        store.promote("2")
        service.has_problem("expected the digest")
        assert service.version == "1"
    finally:
        shutil.rmtree(lights["second"])
        kept.rename(lights["second"])


def test_an_alias_or_a_model_that_is_missing_is_named(store, make_service):
    store.promote("1")
    service = make_service(store).start("1")
    store.promote(None)
    service.has_problem("has no alias 'champion'")
    assert service.answer() == ["first"]
    store.promote("1")
    wait_until("no problem is left", lambda: not service.follower.problem)
    make_service(store, model_name="other").start().has_problem("the model other in MLflow at")
    make_service(store, serve_follow="online").start().has_problem("has no alias 'online'")


def test_without_a_database_none_is_made(tmp_path, make_service):
    settings = Settings.of(home=tmp_path / "home", serve_poll_seconds=0.1)
    service = Service(settings, tmp_path / "cache").start().has_problem("mlflow.db does not exist")
    service.follower.stop()
    assert not (tmp_path / "home" / "mlflow").exists()


def test_a_database_that_cannot_be_read_is_a_problem(tmp_path):
    settings = Settings.of(home=tmp_path / "home", serve_poll_seconds=0.1)
    (tmp_path / "home" / "mlflow").mkdir(parents=True)
    (tmp_path / "home" / "mlflow" / "mlflow.db").write_bytes(b"no database" * 100)
    service = Service(settings, tmp_path / "cache").start().has_problem("file is not a database")
    service.follower.stop()


def test_a_model_of_people_without_a_digest_is_served(store, make_service):
    run_id = store.registry.run_of("2")
    client = store.registry.client
    client.create_registered_model("of people")
    source = client.get_model_version_download_uri("checkout-recommender", "2")
    version = client.create_model_version("of people", source, run_id)
    client.set_registered_model_alias("of people", "champion", version.version)
    service = make_service(store, model_name="of people").start("1")
    assert service.answer() == ["second"]
    assert service.follower.current.digest == store.registry.digest_of_version("2")


def test_a_version_without_a_light_model_is_a_clear_problem(store, make_service, tmp_path):
    """As release 0.1 packed versions: a SavedModel and a vocabulary side by side."""
    packed = tmp_path / "packed"
    packed.mkdir()
    packed.joinpath("MLmodel").write_text(
        "flavors:\n  python_function:\n    artifacts:\n      scorer: {path: artifacts/scorer}\n"
    )
    client = store.registry.client
    client.create_registered_model("old")
    version = client.create_model_version("old", str(packed))
    client.set_registered_model_alias("old", "champion", version.version)
    service = make_service(store, model_name="old").start()
    service.has_problem("version 1 of old in MLflow at sqlite:").has_problem("release 0.1 (SavedModel)")
    assert "Traceback" not in "".join(service.told)


@pytest.mark.parametrize(
    "description",
    [
        "", "[", "[]", "flavors: {}", "flavors: {python_function: {artifacts: {light: {path: ../../..}}}}",
        "flavors: {python_function: {artifacts: {light: 3}}}",
        "flavors: {python_function: {artifacts: {light: {path: gone}}}}",
    ],
)  # fmt: skip
def test_a_description_that_is_none_is_a_problem(store, make_service, tmp_path, description):
    packed = tmp_path / "packed"
    packed.mkdir()
    packed.joinpath("MLmodel").write_text(description)
    client = store.registry.client
    name = f"none {abs(hash(description))}"
    client.create_registered_model(name)
    version = client.create_model_version(name, str(packed))
    client.set_registered_model_alias(name, "champion", version.version)
    service = make_service(store, model_name=name).start().has_problem(f"version 1 of {name}")
    assert "ended by an error" not in service.follower.problem


def test_a_version_serves_only_after_it_has_answered(store, make_service, monkeypatch):
    store.promote("1")
    service = make_service(store).start("1")
    asked = []

    class Broken(loading.CheckoutModel):
        def score(self, sessions):
            asked.extend(len(items) for items, _ in sessions)
            scores, scored = super().score(sessions)
            return scores * np.nan, scored

    monkeypatch.setattr(loading, "CheckoutModel", Broken)
    store.promote("2")
    service.has_problem("are no numbers")
    assert asked[:2] == [0, 1]
    assert asked[2] > 20
    assert service.answer() == ["first"]
    monkeypatch.undo()
    service.serves("2")


def test_listeners_see_a_version_before_it_serves_and_can_refuse_it(store, make_service):
    store.promote("1")
    service = make_service(store)
    seen, refused = [], ["2"]

    def listener(served):
        seen.append((served.version, service.version))
        if served.version in refused:
            raise KeyError("no such column")

    service.follower.add_listener(listener)
    service.start("1")
    store.promote("2")
    service.has_problem("no such column")
    assert service.version == "1"
    refused.clear()
    service.serves("2")
    assert seen[:2] == [("1", None), ("2", "1")]


def test_a_process_that_was_forked_does_not_use_the_model(store, make_service):
    store.promote("1")
    service = make_service(store).start("1")
    child = os.fork()
    if not child:
        try:
            service.follower.current  # noqa: B018
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


FOLLOW = """
import sys, time
from lastaisle.serve.following import follow
from lastaisle.serve.following.served import Follower
from lastaisle.settings import Settings
home, cache, slow, *wanted = sys.argv[1:]
fetch = follow.MlflowVersions.fetch
def fetch_slowly(self, info, folder):
    digest = fetch(self, info, folder)
    if slow == "slow":
        print("fetching", flush=True)
        time.sleep(60)
    return digest
follow.MlflowVersions.fetch = fetch_slowly
follower = Follower(Settings.of(home=home, serve_cache=cache, serve_poll_seconds=0.1))
follower.start()
for version in wanted:
    end = time.monotonic() + 60
    while not (follower.current and follower.current.version == version):
        assert time.monotonic() < end, follower.problem
        time.sleep(0.01)
    print(version, follower.current.model.recommend(["a"], k=1, exclude_seen=True)[0], flush=True)
follower.stop()
"""


def follow_in_a_process(store, cache, *arguments):
    command = [sys.executable, "-c", FOLLOW, str(store.home), str(cache), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_9_in_the_middle_of_a_download_leaves_no_half_version_and_no_lock(store, make_service):
    store.promote("1")
    service = make_service(store)
    killed = follow_in_a_process(store, service.cache, "slow", "1")
    assert killed.stdout.readline() == "fetching\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (left,) = (service.cache / "fetching").iterdir()
    assert not list(service.cache.glob("versions/*"))
    long_ago = time.time() - 3600
    os.utime(left, (long_ago, long_ago))
    service.start("1")
    assert service.answer() == ["first"]
    wait_until("nothing is left of the download", lambda: not any((service.cache / "fetching").iterdir()))


def test_processes_that_share_a_cache_follow_side_by_side(store, tmp_path):
    store.promote("1")
    cache = tmp_path / "cache"
    processes = [follow_in_a_process(store, cache, "", "1", "2") for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["1 ['first']\n"] * 3
    store.promote("2")
    assert [process.stdout.readline() for process in processes] == ["2 ['second']\n"] * 3
    assert [process.wait() for process in processes] == [0] * 3
    assert len(list(cache.glob("versions/*"))) == 2
    assert not any((cache / "fetching").iterdir())


def test_the_cache_of_a_disk_that_is_full_or_closed_is_a_problem(store, make_service, tmp_path):
    store.promote("1")
    file = tmp_path / "file"
    file.write_text("no folder")
    service = make_service(store, cache=file / "cache").start().has_problem("cannot be kept in the cache")
    assert service.version is None


def test_twenty_swaps_leave_no_open_file_and_no_second_copy(store, make_service):
    store.promote("1")
    service = make_service(store).start("1")
    expected = {"1": ["first"], "2": ["second"]}
    for swap in range(20):
        version = "21"[swap % 2]
        store.promote(version)
        service.serves(version)
        assert service.answer() == expected[version]

    def opened():
        return [file.path for file in psutil.Process().open_files() if str(service.cache) in file.path]

    # The thread that follows holds the version before until it has finished its look at the registry.
    wait_until("the version before is closed", lambda: opened() == [str(service.light("1") / "model.tflite")])
    assert len(list(service.cache.glob("versions/*"))) == 2
    assert np.isfinite(service.follower.current.model.recommend(["a"])[1]).all()
