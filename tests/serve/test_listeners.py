"""A listener hears of each answer and of each request that the service could not answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from lastaisle.serve.app import Limits
from lastaisle.serve.parts import Maker
from lastaisle.serve.questions import Answer, Asked
from tests.serve.toys import ToyModel


@dataclass
class Listener:
    problem: str = ""
    heard: list[Any] = field(default_factory=list)

    def start(self) -> None:
        self.heard.append("start")

    def stop(self) -> None:
        self.heard.append("stop")

    def answered(self, question: Asked, answer: Answer, seconds: float) -> None:
        assert seconds > 0
        self.heard.append((question.items, answer.version, [item.id for item in answer.items]))

    def failed(self, status: int, seconds: float, maker: Maker) -> None:
        self.heard.append((status, *maker))


def test_a_listener_hears_of_answers_and_failures_and_not_of_wrong_requests(make_service):
    listener, model = Listener("the lake is away"), ToyModel()
    client = make_service(model=model, listeners=(listener,))
    client.ask("i1", k=1)
    client.post("/v1/recommendations", json={"k": -1})
    assert client.get("/v1/model").json()["problems"] == ["the lake is away"]
    client.service.versions.current = None
    client.post("/v1/recommendations", json={"items": ["i1"]})
    assert listener.heard == ["start", (["i1"], "7", ["i2"]), (503, "", "", None, None)]


def test_a_request_that_waited_too_long_is_a_failure(make_service):
    listener, model = Listener(), ToyModel()
    client = make_service(model=model, listeners=(listener,), limits=Limits(seconds=0.05))
    model.wait = lambda: time.sleep(0.2)
    assert client.post("/v1/recommendations", json={"items": ["i1"]}).status_code == 503
    assert listener.heard == ["start", (503, "shop", "7", None, None)]
