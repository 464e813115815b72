"""Services for the tests of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serve.toys import KEY, ToyService


class Client(TestClient):
    """A client of a service in this process, with a key."""

    def __init__(self, service: ToyService) -> None:
        super().__init__(service.app, headers={"Authorization": f"Bearer {KEY}"})
        self.service = service

    def ask(self, *items: Any, **fields: Any) -> Any:
        """Return the reply to a request for recommendations."""
        reply = self.post("/v1/recommendations", json={"items": list(items), **fields})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def ids(self, *items: Any, **fields: Any) -> list[str]:
        """Return the recommended ids."""
        return [item["id"] for item in self.ask(*items, **fields)["items"]]

    def metric(self, line: str) -> float:
        """Return the value of a series; 0 if it is missing."""
        for each in self.get("/metrics").text.splitlines():
            if each.startswith(f"{line} "):
                return float(each.rpartition(" ")[2])
        return 0.0


@pytest.fixture
def make_service() -> Iterator[Callable[..., Client]]:
    with ExitStack() as opened:
        yield lambda **parts: opened.enter_context(Client(ToyService(**parts)))


@pytest.fixture
def service(make_service) -> Client:
    return make_service()
