"""A dashboard over a lake of its own, and the requests of its readers."""

from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from lastaisle.dashboard.access import HEADER, token_access
from lastaisle.dashboard.app import create_app
from lastaisle.dashboard.source import Source
from lastaisle.settings import Settings

TOKEN = "a-token-of-the-tests"
ORIGIN = "http://testserver"
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


@pytest.fixture
def source(tmp_path):
    """Return what the pages read: an empty lake."""
    return Source(Settings.of(home=tmp_path))


@pytest.fixture
def asked():
    """Return the rollbacks that were asked for."""
    return []


@pytest.fixture
def app(source, asked):
    """Return the application; a rollback is only noted."""

    def note(request):
        asked.append(request)
        return f"Version {request.to_version} is champion now."

    return create_app(source, token_access(TOKEN), roll_back=note)


@pytest.fixture
def stranger(app):
    """Return a client that has no token."""
    return TestClient(app, base_url=ORIGIN, follow_redirects=False)


@pytest.fixture
def reader(app):
    """Return a client that has the token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return TestClient(app, base_url=ORIGIN, headers=headers)


@pytest.fixture
def reader_of():
    """Return a function that returns a client with the token, for a source."""

    def client_of(source):
        app = create_app(source, token_access(TOKEN), roll_back=lambda _: "")
        return TestClient(app, base_url=ORIGIN, headers={"Authorization": f"Bearer {TOKEN}"})

    return client_of


@pytest.fixture
def changer(app):
    """Return a client that has the token and sends changes as a page does."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Origin": ORIGIN, HEADER: "1"}
    return TestClient(app, base_url=ORIGIN, headers=headers)
