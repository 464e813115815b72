"""A silo that cannot join is told why before anything is installed or started."""

from pathlib import Path

import pytest

from lastaisle.errors import NotEnoughDataError
from lastaisle.federation import joining as module
from lastaisle.federation.joining import JoinError, joining
from lastaisle.federation.processes import ROOT, coordinator_environ, silo_environ
from lastaisle.lake import Lake
from lastaisle.settings import Settings
from tests.shops import made_up_shop


@pytest.fixture
def silo(tmp_path, monkeypatch):
    """An installation with events; its environment of Flower is not made."""
    monkeypatch.setattr(module, "command_of", lambda name, settings, *arguments: [name, *arguments])
    settings = Settings.of(home=tmp_path)
    lake = Lake(settings.lake.url)
    lake.append("events", made_up_shop.events(days=1, sessions=3), key="made-up")
    return settings, lake


def join(silo, address="127.0.0.1:9092", **options):
    return joining(address, *silo, **options)[0]


@pytest.mark.parametrize(
    "address", ["", "shop", "shop:", ":9", "shop:0", "shop:65536", "http://a:9", "a b:9"]
)
def test_an_address_that_is_none_is_refused(silo, address):
    with pytest.raises(JoinError, match="should be host:port, received"):
        join(silo, address)


@pytest.mark.parametrize("given", [{}, {"key": __file__}, {"root_certificates": __file__}])
def test_another_machine_needs_certificates_and_a_key(silo, given):
    with pytest.raises(JoinError, match=r"give --root-certificates.*and --key"):
        join(silo, "shop.example:9092", **given)


def test_a_key_needs_tls(silo):
    with pytest.raises(JoinError, match="only over TLS"):
        join(silo, key=__file__)


def test_a_file_that_is_not_there_is_named(silo):
    with pytest.raises(JoinError, match=r"--root-certificates '/none.pem' cannot be read"):
        join(silo, root_certificates="/none.pem")


def test_a_silo_without_events_is_refused(tmp_path):
    settings = Settings.of(home=tmp_path)
    with pytest.raises(NotEnoughDataError, match="ingest this silo's logs"):
        joining("127.0.0.1:9092", settings, Lake(settings.lake.url))


def test_the_files_are_given_to_the_silos_process(silo):
    command = join(silo, "shop.example:9092", root_certificates=__file__, key=__file__)
    file = str(Path(__file__).resolve())
    assert command[1:] == ["--superlink", "shop.example:9092", "--root-certificates", file, "--key", file]


def test_a_coordinator_gets_no_secret_of_the_pipeline(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_LAKE_OPTIONS", '{"secret": "s3"}')
    settings = Settings.of(home=tmp_path, lake_options='{"secret": "s3"}', federation_rounds=3)
    environ = coordinator_environ(settings, tmp_path)
    assert not any("s3" in value for name, value in environ.items() if name.startswith("LASTAISLE_"))
    assert environ["LASTAISLE_FEDERATION_ROUNDS"] == "3"
    assert environ["FLWR_TELEMETRY_ENABLED"] == "0"


def test_a_silo_reads_its_own_lake_with_this_code(tmp_path):
    settings = Settings.of(home=tmp_path)
    environ = silo_environ(settings)
    assert environ["LASTAISLE_LAKE"] == str(tmp_path / "lake")
    assert environ["PYTHONPATH"].split(":") == [str(ROOT), str(ROOT / "plugins")]
    assert (ROOT / "models" / "federated").is_dir()
