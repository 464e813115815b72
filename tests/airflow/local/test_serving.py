"""`make up` gives the service a port and an API key, and shows a command that asks it."""

import json
import os
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from lastaisle.settings import Settings
from lastaisle_airflow.local import serving
from lastaisle_airflow.local.services import Services, addresses, services_of


@pytest.fixture
def settings(tmp_path):
    return serving.with_service(Settings.of(home=tmp_path / "a home", serve_port=0))


def test_a_key_is_made_once_and_only_this_account_reads_it(settings):
    for _ in range(2):
        serving.make_key(settings)
        (key,) = (settings.home / "keys" / "serve").read_text().splitlines()
        assert serving.headers_of(settings) == {"Authorization": f"Bearer {key}"}
    assert len(key) == 32
    assert (settings.home / "keys" / "serve").stat().st_mode & 0o777 == 0o600
    assert (settings.home / "keys").stat().st_mode & 0o777 == 0o700


def test_no_key_is_made_where_the_settings_name_keys(tmp_path):
    file = tmp_path / "keys.txt"
    file.write_text("# of the shop\n\nfirst  \nsecond\n")
    for given, expected in (({"serve_keys": " one,two"}, "one"), ({"serve_key_file": str(file)}, "first")):
        settings = serving.with_service(Settings.of(home=tmp_path / "home", **given))
        serving.make_key(settings)
        assert serving.headers_of(settings) == {"Authorization": f"Bearer {expected}"}
    assert not (tmp_path / "home").exists()


def test_the_port_zero_becomes_a_port(settings):
    (service,) = [one for one in services_of(settings) if one.name == "serve"]
    assert settings.serve.port > 0
    assert service.command[-4:] == ("--host", "127.0.0.1", "--port", str(settings.serve.port))
    assert service.url == f"http://127.0.0.1:{settings.serve.port}/healthz"


def test_the_addresses_show_the_service_and_its_key(settings, monkeypatch):
    services = Services(settings)
    monkeypatch.setattr(services, "login", lambda: ("admin", "a-password"))
    services._make_folders()
    shown = addresses(services)["service"]
    assert serving.url_of(settings) in shown
    assert serving.headers_of(settings)["Authorization"].removeprefix("Bearer ") in shown


@pytest.mark.parametrize("given", [{}, {"serve_keys": "one,two"}])
def test_the_command_that_is_shown_asks_the_service(tmp_path, given):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        found = Settings.of(home=tmp_path / "it's home", serve_port=server.server_port, **given)
        settings = serving.with_service(found)
        serving.make_key(settings)
        command = serving.curl(settings, ["it's 1", "2"], 5)
        environment = {**os.environ, "LASTAISLE_SERVE_KEYS": given.get("serve_keys", "")}
        subprocess.run(["sh", "-c", command], env=environment, check=True, capture_output=True, timeout=60)
        thread.join()
    body = {"items": ["it's 1", "2"], "k": 5}
    assert asked == [("/v1/recommendations", serving.headers_of(settings)["Authorization"], body)]
    assert command.startswith("curl ")
