"""The OpenAPI document is true: the service answers as it says whatever it allows and whatever it forbids."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from lastaisle.lake import Lake
from lastaisle.serve.app import Limits
from lastaisle.serve.consents.consents import Consents
from lastaisle.web.listening import listen, server_config, url_of
from tests.serve.conftest import Client
from tests.serve.toys import KEY, ToyService
from tests.services.required import starts_service
from tests.services.waiting import wait_until

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method,ignored_auth"
)
"""Without positive_data_acceptance: no schema says which fields fit each other, and 422 is documented."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a service that listens."""
    starts_service("a service")
    consents = Consents(Lake(str(tmp_path)), 0.5)
    consents.look()
    made = ToyService(limits=Limits(waiting=256), consents=consents)
    with listen("127.0.0.1", 0, "the service") as listening:
        server = uvicorn.Server(server_config(made.app, lambda _: None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        wait_until("the service has started", lambda: server.started)
        yield url_of("127.0.0.1", listening)
        server.should_exit = True
        thread.join()


@pytest.mark.service
def test_the_service_is_as_its_document_says(url, tmp_path):
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--url", url]
    command += ["--header", f"Authorization: Bearer {KEY}", "--checks", CHECKS, "--seed", "7"]
    command += ["--max-examples", "40", "--generation-database", ":memory:", "--no-color"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


def test_the_document_names_each_path_that_the_service_has(service: Client):
    document = service.get("/openapi.json").json()
    routes = {route.path for route in service.service.app.routes}
    assert set(document["paths"]) == routes - {"/", "/page.js", "/feedback.js", "/page.css"}
    assert document["info"]["version"]
    question = document["components"]["schemas"]["Question"]
    assert question["additionalProperties"] is False
    assert all("description" in field for field in question["properties"].values())
