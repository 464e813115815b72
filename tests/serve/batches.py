"""Requests that wait for the model together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.serve.toys import Gate, ToyModel
from tests.services.waiting import wait_until


def ask_together(service: Any, model: ToyModel, questions: Sequence[Any]) -> list[Any]:
    """Ask while the model is busy, so that all questions are one batch; return the replies in order."""
    gate = Gate()
    model.wait = gate
    with ThreadPoolExecutor(len(questions) + 1) as pool:
        first = pool.submit(service.post, "/v1/recommendations", json={})
        assert gate.reached.wait(10)
        replies = []
        for number, question in enumerate(questions, start=1):
            replies.append(pool.submit(service.post, "/v1/recommendations", json=question))
            wait_until("the request waits", lambda expected=number: waiting(service) >= expected)
        gate.opened.set()
        assert first.result().status_code == 200
        return [reply.result() for reply in replies]


def waiting(service: Any) -> float:
    """Return how many requests wait for the model."""
    return service.metric("lastaisle_serve_queue")
